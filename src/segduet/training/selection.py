"""Which epoch's weights become the model, by a rule declared beforehand (F51)."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, assert_never

from segduet.core.errors import RequestError
from segduet.training.config import ValidationConfig

log = logging.getLogger(__name__)

REGION, TASK = "region:", "task:"

#: Beside the declared regions, in the record of a full validation.
MEAN_FOREGROUND = "mean_foreground"

_PERIODIC = "model_epoch_{:04d}.safetensors"


def selection_score(full_case: Mapping[str, Any], config: ValidationConfig) -> float | None:
    """The number the rule compares, higher is better; None where a part of it is undefined.

    Args:
        full_case: what a full validation measured: `score`, `dsc` (region -> mean DSC or None) and
            `task_score` (task -> value or None).
        config: the rule.
    """
    match config.selection:
        case "last":
            return None
        case "best_joint":
            score: float | None = full_case["score"]
            return score
        case "best_weighted":
            return _weighted(full_case, config.selection_weights)
        case _:
            assert_never(config.selection)


def _weighted(full_case: Mapping[str, Any], weights: Mapping[str, float]) -> float | None:
    values = {key: _figure(full_case, key) for key in weights}
    undefined = sorted(key for key, value in values.items() if value is None)
    if undefined:
        log.warning("this epoch cannot be selected: %s undefined on these cases", undefined)
        return None
    return math.fsum(weight * (values[key] or 0.0) for key, weight in weights.items())


def _figure(full_case: Mapping[str, Any], key: str) -> float | None:
    section = "dsc" if key.startswith(REGION) else "task_score"
    value: float | None = full_case[section].get(key.removeprefix(REGION).removeprefix(TASK))
    return value


def selection_formula(config: ValidationConfig) -> str:
    """The rule as a formula, for the record."""
    match config.selection:
        case "last":
            return "weights of the last epoch"
        case "best_joint":
            return "mean of mean_foreground DSC and every task's score, full validation cases"
        case "best_weighted":
            terms = [_term(key, weight) for key, weight in config.selection_weights.items()]
            return " + ".join(terms) + ", full validation cases"
        case _:
            assert_never(config.selection)


def _term(key: str, weight: float) -> str:
    if key.startswith(REGION):
        return f"{weight:g} DSC({key.removeprefix(REGION)})"
    return f"{weight:g} score({key.removeprefix(TASK)})"


def require_known_names(
    config: ValidationConfig, *, regions: Sequence[str], tasks: Sequence[str]
) -> None:
    """Checks the weights of `best_weighted` against the dataset.

    Raises:
        RequestError: a weight for a region or task there is not.
    """
    known = [f"{REGION}{r}" for r in (*regions, MEAN_FOREGROUND)] + [f"{TASK}{t}" for t in tasks]
    unknown = sorted(set(config.selection_weights) - set(known))
    if unknown:
        raise RequestError(
            "validation.selection_weights",
            found=f"a weight for {unknown[0]!r}",
            expected=f"names among {known}",
            remedy="Correct the name of the region or task.",
        )


def periodic_model(run_folder: Path, epoch: int) -> Path:
    """Where the model after so many epochs is kept, such as `model_epoch_0050.safetensors`."""
    return Path(run_folder) / _PERIODIC.format(epoch)


def periodic_models(run_folder: Path) -> tuple[Path, ...]:
    """The models a training kept on the way, oldest first; for an ensemble over epochs (F53)."""
    found = Path(run_folder).glob(_PERIODIC.split("{", maxsplit=1)[0] + "*.safetensors")
    return tuple(sorted(found, key=lambda path: int(path.stem.rsplit("_", 1)[1])))
