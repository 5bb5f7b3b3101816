"""Finding a trained model: ours, or a stock nnU-Net model folder (B11).

Nothing here reads weights or imports torch; `workflows/trained_networks.py` does both.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError, RequestError
from segduet.core.files import write_json
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.core.tasks import TaskSpec
from segduet.nnunet.model_folder import StockModelFolder

if TYPE_CHECKING:
    from segduet.networks.record import NetworkRecord

MODEL_FILE = "model.safetensors"
MODEL_FORMAT = "segduet-model-2"


class Checkpoints(StrEnum):
    """Which of a training's models answer.

    FINAL: the finished one.
    ALL: those kept on the way as well (`keep_every`), as an ensemble (F53).
    """

    FINAL = "final"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What prediction needs to know of a trained model, whatever runs it.

    Attributes:
        source: model folder or bundle.
        folds: names of the folds that answer.
        tasks: case-level tasks all its networks answer, without their scales; empty where
            nnU-Net's own trainer made it.
        mirror_axes: spatial axes the networks were trained to be mirrored along (all, unless a
            stock trainer did without).
        segments: whether every network answers with a label map, not with classes alone.
    """

    source: Path
    plan: Plan
    configuration_name: str
    description: DatasetDescription
    folds: tuple[str, ...]
    tasks: tuple[TaskSpec, ...]
    mirror_axes: tuple[int, ...]
    segments: bool

    @property
    def configuration(self) -> ConfigurationPlan:
        """The configuration the networks were trained in."""
        return self.plan.configuration(self.configuration_name)

    @property
    def labels(self) -> LabelScheme:
        """What the predicted label maps mean."""
        return self.description.label_scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A model folder: one plan, one configuration, weights per fold.

    Attributes:
        fold_files: fold name -> weights, `model.safetensors` or a stock checkpoint.
        kept_files: models kept on the way through the same folds, that answer too.
    """

    folder: Path
    plan: Plan
    configuration_name: str
    description: DatasetDescription
    fold_files: dict[str, Path]
    kept_files: tuple[Path, ...] = ()

    @property
    def configuration(self) -> ConfigurationPlan:
        """The configuration the networks were trained in."""
        return self.plan.configuration(self.configuration_name)

    @property
    def labels(self) -> LabelScheme:
        """What the predicted label maps mean."""
        return self.description.label_scheme

    @property
    def weights(self) -> tuple[Path, ...]:
        """A file per network, in the order in which they are averaged."""
        return (*self.fold_files.values(), *self.kept_files)


def open_model(
    path: Path, folds: Sequence[str] | None = None, checkpoints: Checkpoints = Checkpoints.FINAL
) -> ModelFolder:
    """Opens a model folder, or one of its fold folders.

    Args:
        path: `<trainer>__<plans>__<configuration>`, or `fold_K` in it.
        folds: folds to use; None takes all that are finished.
        checkpoints: which models of each fold.

    Raises:
        RequestError: no such folder or fold, one twice, or no model was kept on the way.
        DataError: plans.json or dataset.json is missing or damaged.
    """
    path = Path(path)
    if path.name.startswith("fold_") and folds is None:
        path, folds = path.parent, [path.name.removeprefix("fold_")]
    stock = StockModelFolder.open(path)
    ours = {p.parent.name.removeprefix("fold_"): p for p in path.glob(f"fold_*/{MODEL_FILE}")}
    available = {**stock.checkpoints, **ours}
    chosen = list(folds) if folds is not None else sorted(available)
    missing = [f for f in chosen if f not in available]
    if len(set(chosen)) < len(chosen):
        raise RequestError(
            str(path),
            found=f"folds {chosen}",
            expected="each once",
            remedy="Correct --folds.",
        )
    if missing or not chosen:
        raise RequestError(
            str(path),
            found=f"finished folds {sorted(available)}",
            expected=f"folds {missing or 'of a finished training'}",
            remedy="Train them first, or choose finished ones with --folds.",
        )
    return ModelFolder(
        folder=path,
        plan=stock.plan,
        configuration_name=stock.configuration_name,
        description=stock.description,
        fold_files={fold: available[fold] for fold in chosen},
        kept_files=_kept(path, chosen) if checkpoints is Checkpoints.ALL else (),
    )


def _kept(folder: Path, folds: Sequence[str]) -> tuple[Path, ...]:
    from segduet.training.selection import periodic_models

    found = tuple(file for fold in folds for file in periodic_models(folder / f"fold_{fold}"))
    if not found:
        raise RequestError(
            f"{folder}, --checkpoints all",
            found="no models kept on the way",
            expected="files such as model_epoch_0050.safetensors beside the finished model",
            remedy="Train with keep_every > 0, or use --checkpoints final.",
        )
    return found


def first_stage_folder(model: ModelFolder) -> Path | None:
    """Model folder of the stage before a cascade's second one; None where there is none.

    It lies beside the model's own folder, under the name that its folds were trained after.

    Raises:
        RequestError: it is not there, or the folds were trained after different ones.
    """
    earlier = model.configuration.previous_stage
    if earlier is None:
        return None
    beside = model.folder.resolve()
    own = beside.name.partition("__")[0]
    trainers = {read_header(f).get("previous_stage", own) for f in model.fold_files.values()}
    if len(trainers) > 1:
        raise RequestError(
            f"{model.folder}, folds {list(model.fold_files)}",
            found=f"folds trained after different first stages, {sorted(trainers)}",
            expected="folds of one cascade",
            remedy="Choose such folds with --folds.",
        )
    folder = beside.parent / f"{trainers.pop()}__{model.plan.plans_name}__{earlier}"
    if not folder.is_dir():
        raise RequestError(
            f"{model.folder}, second stage of a cascade",
            found=f"no first stage in {folder}",
            expected=f"the model of {earlier} that it was trained after",
            remedy="Bring that model folder too, or train it again.",
        )
    return folder


def read_header(weights: Path) -> dict[str, Any]:
    """Header of a model of ours, as `model_header` made it; empty for a stock checkpoint.

    Raises:
        DataError: damaged, or a file of another format.
    """
    if weights.suffix != ".safetensors":
        return {}
    header = read_any_header(weights)
    if header.get("format") != MODEL_FORMAT:
        raise _foreign(weights, f"a file of the format {header.get('format')!r}")
    return header


def read_any_header(weights: Path) -> dict[str, Any]:
    """Header of a model or of a training's state; no tensor is read and nothing is unpickled.

    Raises:
        DataError: damaged, or not written by segduet.
    """
    try:
        # numpy, as torch would be imported
        with safe_open(weights, framework="numpy") as stream:
            header: dict[str, Any] = json.loads((stream.metadata() or {})["segduet"])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise _foreign(weights, f"a file that cannot be read ({error})") from error
    return header


def _foreign(weights: Path, found: str) -> DataError:
    return DataError(
        str(weights),
        found=found,
        expected=f"a model ({MODEL_FORMAT})",
        remedy="Restore the model from a backup, or finish the training with --resume.",
    )


def model_header(
    tasks: Sequence[TaskSpec], network: "NetworkRecord", **facts: Any
) -> dict[str, Any]:
    """Header of model.safetensors: what is needed to rebuild the network, and a few facts."""
    return {
        "format": MODEL_FORMAT,
        "tasks": [t.model_dump(mode="json") for t in tasks],
        **network.model_dump(mode="json"),
        **facts,
    }


def write_model_folder(folder: Path, plan: Plan, description: DatasetDescription) -> None:
    """Writes plans.json and dataset.json as nnU-Net expects them beside the folds."""
    write_json(folder / "plans.json", plan.to_json())
    description.write(folder / "dataset.json")
