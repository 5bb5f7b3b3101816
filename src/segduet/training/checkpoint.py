"""Everything needed to go on with a training bit for bit, in one safetensors file (F52, B10)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from segduet.balancing.protocol import Balancer
from segduet.core.errors import DataError, RequestError
from segduet.core.files import atomic_path
from segduet.training.averaging import WeightAverage
from segduet.training.compiling import CompiledNetwork
from segduet.training.config import Recipe
from segduet.training.early_stopping import PlateauWatch
from segduet.training.tensors import unique_tensors

FORMAT = "segduet-checkpoint-1"
_HEADER = "segduet"

#: Settings no number of a training depends on; a resumed run may change them.
_OF_THE_MACHINE = frozenset({"thermal", "details_every"})


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """All that changes during a training.

    Attributes:
        program: the network compiled, which steps call in its place; None where they call itself.
        compute: record of how steps are computed, see `Compute.record`.
        num_epochs: epochs the training will have; early stopping lowers it.
        stopping: watches for a plateau; None where early stopping is off.
        epoch: epochs finished.
        history: one record per finished epoch, as in metrics.jsonl.
        best_score: best full-case validation score so far, None before the first.
        num_candidates: full-case validations that could have been selected.
    """

    network: nn.Module
    average: WeightAverage | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    balancer: Balancer
    num_epochs: int
    program: CompiledNetwork | None = None
    compute: Mapping[str, Any] = field(default_factory=dict)
    stopping: PlateauWatch | None = None
    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_score: float | None = None
    num_candidates: int = 0

    @property
    def model(self) -> nn.Module:
        """The network whose weights become the model: the average, or the trained one itself."""
        average = self.average
        return average.network if average and average.num_updates else self.network

    @property
    def is_finished(self) -> bool:
        """Whether the last epoch is done, be it the recipe's or that of early stopping."""
        return self.epoch >= self.num_epochs


def write_model(target: Path, module: nn.Module, header: Mapping[str, Any]) -> None:
    """Writes a module's weights with a JSON header, atomically; no pickle (B20)."""
    _write(target, unique_tensors(module), header)


def read_model(source: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights by name and the JSON header.

    Raises:
        DataError: the file is missing, damaged, or not written by segduet.
    """
    return _read(source)


def load_unique(module: nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Copies weights into a module; names and shapes must be exactly the module's.

    Raises:
        DataError: a name is missing or unknown, or a shape differs.
    """
    mine = unique_tensors(module)
    wrong = sorted(mine.keys() ^ tensors.keys()) + sorted(
        n for n in mine.keys() & tensors.keys() if mine[n].shape != tensors[n].shape
    )
    if wrong:
        raise DataError(
            where,
            found=f"{len(wrong)} weights that do not fit, first {wrong[0]!r}",
            expected="the weights of this plan's network",
            remedy="Use the plan and recipe the weights were trained with.",
        )
    with torch.no_grad():
        for name, tensor in mine.items():
            tensor.copy_(tensors[name])


def save_checkpoint(target: Path, state: TrainingState, recipe: Recipe) -> None:
    """Writes the whole state atomically; the previous checkpoint survives any interruption."""
    optimizer_tensors, optimizer_values = _split_optimizer(state.optimizer)
    tensors = {f"network.{k}": v for k, v in unique_tensors(state.network).items()}
    if state.average:
        average = unique_tensors(state.average.network)
        tensors.update({f"average.{k}": v for k, v in average.items()})
    tensors.update(optimizer_tensors)
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    header = {
        "format": FORMAT,
        "recipe": recipe.model_dump(mode="json"),
        "compute": dict(state.compute),
        "epoch": state.epoch,
        "average_updates": state.average.num_updates if state.average else 0,
        "optimizer": optimizer_values,
        "scaler": state.scaler.state_dict(),
        "balancer": state.balancer.state_dict(),
        "num_epochs": state.num_epochs,
        "stopping": state.stopping.to_json() if state.stopping else {},
        "history": state.history,
        "best_score": state.best_score,
        "num_candidates": state.num_candidates,
    }
    _write(target, tensors, header)


def load_checkpoint(source: Path, state: TrainingState, recipe: Recipe) -> None:
    """Restores what `save_checkpoint` wrote into a freshly built state.

    Raises:
        DataError: missing, damaged, foreign, or made for another network.
        RequestError: the recipe is not the one the training began with.
    """
    tensors, header = _read(source)
    if header.get("format") != FORMAT:
        raise _damaged(source, f"format {header.get('format')!r}")
    _check_recipe(source, header["recipe"], recipe)
    load_unique(state.network, _under("network.", tensors), where=str(source))
    if state.average:
        load_unique(state.average.network, _under("average.", tensors), where=str(source))
        state.average.num_updates = header["average_updates"]
    _join_optimizer(state.optimizer, _under("optimizer.", tensors), header["optimizer"])
    state.scaler.load_state_dict(header["scaler"])
    state.balancer.load_state_dict(header["balancer"])
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    if state.stopping:
        state.stopping.restore(header["stopping"])
    state.num_epochs = header["num_epochs"]
    state.epoch, state.history = header["epoch"], header["history"]
    state.best_score, state.num_candidates = header["best_score"], header["num_candidates"]


def read_compute(source: Path, recipe: Recipe) -> dict[str, Any]:
    """How the steps of a training to be resumed were computed, see `Compute.record`.

    Raises:
        DataError: missing, damaged or foreign.
        RequestError: the recipe is not the one the training began with.
    """
    _, header = _read(source)
    if header.get("format") != FORMAT:
        raise _damaged(source, f"format {header.get('format')!r}")
    _check_recipe(source, header["recipe"], recipe)
    compute: dict[str, Any] = header["compute"]
    return compute


def _check_recipe(source: Path, began: Mapping[str, Any], recipe: Recipe) -> None:
    now = recipe.model_dump(mode="json")
    names = (now.keys() | began.keys()) - _OF_THE_MACHINE
    changed = sorted(name for name in names if now.get(name) != began.get(name))
    if changed:
        raise RequestError(
            f"--resume from {source}",
            found=f"other settings than at the start: {changed}",
            expected="the recipe the training began with",
            remedy="Resume with the same recipe and --set, or train anew without --resume.",
        )


def _split_optimizer(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    tensors: dict[str, Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            else:
                values.setdefault(str(index), {})[name] = value
    return tensors, values


def _join_optimizer(
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    values: Mapping[str, Mapping[str, Any]],
) -> None:
    state: dict[int, dict[str, Any]] = {int(i): dict(v) for i, v in values.items()}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _write(target: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    plain = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    text = json.dumps(header, allow_nan=False)
    with atomic_path(target) as temporary:
        try:
            save_file(plain, temporary, metadata={_HEADER: text})
        except SafetensorError as error:  # what safetensors makes of a full disk
            raise OSError(str(error)) from error


def _read(source: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not Path(source).is_file():
        raise DataError(
            str(source),
            found="no such file",
            expected="a checkpoint or model written by segduet",
            remedy="Check the run folder; without one, train without --resume.",
        )
    try:
        with safe_open(source, framework="pt") as stream:
            header = json.loads((stream.metadata() or {})[_HEADER])
            return {key: stream.get_tensor(key) for key in stream.keys()}, header  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise _damaged(source, f"a file that cannot be read ({error})") from error


def _damaged(source: Path, found: str) -> DataError:
    return DataError(
        str(source),
        found=found,
        expected="a whole checkpoint or model written by segduet",
        remedy="Restore it from a backup, or delete it and train again.",
    )
