"""A folder of trained folds as nnU-Net lays it out (B11)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from segduet.core.description import DatasetDescription
from segduet.core.errors import RequestError
from segduet.core.plan import Plan

_NAME_PARTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StockModelFolder:
    """`<trainer>__<plans>__<configuration>` with plans.json, dataset.json and folds.

    Attributes:
        folder: the folder.
        plan: its plans.json.
        description: its dataset.json.
        configuration_name: the configuration all folds were trained in.
        checkpoints: fold (`0`, `1`, ..., `all`) -> checkpoint, those that exist, sorted.
    """

    folder: Path
    plan: Plan
    description: DatasetDescription
    configuration_name: str
    checkpoints: dict[str, Path]

    @classmethod
    def open(cls, path: Path, checkpoint_name: str = "checkpoint_final.pth") -> Self:
        """Opens a model folder; weights are not read.

        Args:
            path: the folder.
            checkpoint_name: which checkpoint of each fold.

        Raises:
            RequestError: no such folder, or its configuration cannot be told.
            DataError: plans.json or dataset.json is missing or damaged.
        """
        path = Path(path)
        if not path.is_dir():
            raise RequestError(
                str(path),
                found="no such folder",
                expected="a model folder, <trainer>__<plans>__<configuration>",
                remedy="Check the path; trained models lie under nnUNet_results.",
            )
        plan = Plan.read(path / "plans.json")
        found = sorted(path.glob(f"fold_*/{checkpoint_name}"))
        checkpoints = {p.parent.name.removeprefix("fold_"): p for p in found}
        return cls(
            folder=path,
            plan=plan,
            description=DatasetDescription.read(path / "dataset.json"),
            configuration_name=_configuration_name(path, plan, checkpoints),
            checkpoints=checkpoints,
        )

    def checkpoint(self, fold: str) -> Path:
        """The checkpoint of a fold.

        Raises:
            RequestError: the fold has none of the name the folder was opened with.
        """
        if fold not in self.checkpoints:
            raise RequestError(
                f"{self.folder}, fold {fold}",
                found="no finished checkpoint",
                expected=f"one of the folds {list(self.checkpoints) or '(none is finished)'}",
                remedy="Choose a finished fold, or another checkpoint name.",
            )
        return self.checkpoints[fold]


def _configuration_name(path: Path, plan: Plan, checkpoints: dict[str, Path]) -> str:
    """From the folder's name, or from a checkpoint where the folder was renamed."""
    parts = path.name.split("__")
    if len(parts) == _NAME_PARTS and parts[2] in plan.configurations:
        return parts[2]
    if checkpoints:
        from segduet.nnunet.checkpoints import read_stock_checkpoint

        return read_stock_checkpoint(next(iter(checkpoints.values()))).configuration
    raise RequestError(
        str(path),
        found=f"the name {path.name!r} and no finished checkpoint",
        expected=f"a name that ends in __ and one of {sorted(plan.configurations)}",
        remedy="Give the folder its original name back.",
    )
