"""Whose answers an evaluation scored, as far as what lies on disk tells."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segduet.core.errors import DataError, RequestError
from segduet.core.files import read_csv, sha256
from segduet.core.manifest import read_manifest
from segduet.inference.answers_file import ANSWERS_FILE
from segduet.inference.bundles.opening import is_bundle
from segduet.workflows.models import MODEL_FILE
from segduet.workflows.run_folder import VALIDATION
from segduet.workflows.run_record import RUN_RECORD


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredAnswers:
    """The answers behind an evaluation.

    Attributes:
        is_of_run: whether a record says that the network of the run gave them, alone or with
            others; False where nothing is recorded.
        manifest: of the `predict` that wrote them; None where it is not beside them any more.
        case_seconds: time for each answered case; empty where it is not recorded.
    """

    is_of_run: bool = False
    manifest: Mapping[str, Any] | None = None
    case_seconds: tuple[float, ...] = ()


def scored_answers(run: Path, evaluation: Mapping[str, Any] | None) -> ScoredAnswers:
    """What is known of the answers that an evaluation scored.

    Args:
        run: run folder of the model that the scores are to be told of.
        evaluation: manifest of `evaluate`; None where there is none.

    Raises:
        RequestError: another model gave the answers, or other folds of this one.
        DataError: a damaged manifest or predictions.csv.
    """
    named = (evaluation or {}).get("arguments", {}).get("predictions")
    if named is None:
        return ScoredAnswers()
    folder = Path(named)
    if folder.name == VALIDATION and (folder.parent / RUN_RECORD).is_file():
        require_own_validation(run, folder)
        return ScoredAnswers(is_of_run=True)
    manifest = read_manifest(folder, "predict")
    arguments = (manifest or {}).get("arguments", {})
    is_of_run = _answered(run, arguments)
    if is_of_run is False:
        told = f"folds {arguments.get('folds')} of {arguments.get('model')}"
        raise _of_another(run, f"scores of answers by other weights: {told}")
    return ScoredAnswers(
        is_of_run=bool(is_of_run), manifest=manifest, case_seconds=_case_seconds(folder)
    )


def require_own_validation(run: Path, validation: Path) -> None:
    """Checks that a folder of validation answers is this run's own.

    Raises:
        RequestError: another training left it.
    """
    if validation.parent.resolve() != run.resolve():
        raise _of_another(run, f"the validation of another training, {validation}")


def _answered(run: Path, arguments: Mapping[str, Any]) -> bool | None:
    """Whether the run's network was among those that answered; None where no record says so."""
    hashes, weights = arguments.get("weights_sha256"), run / MODEL_FILE
    if hashes and weights.is_file():
        return sha256(weights) in hashes.values()
    model = Path(arguments.get("model") or "")
    if not arguments.get("model") or not model.is_dir() or is_bundle(model):
        return None
    fold = run.name.removeprefix("fold_")
    return model.resolve() == run.parent.resolve() and fold in arguments.get("folds", ())


def _case_seconds(folder: Path) -> tuple[float, ...]:
    """Of the answered cases in predictions.csv, whatever run or shard answered them."""
    source = folder / ANSWERS_FILE
    rows = read_csv(source)[1] if source.is_file() else []
    try:
        return tuple(float(row["seconds"]) for row in rows if row["status"] == "ok")
    except (KeyError, ValueError) as reason:
        raise DataError(
            str(source),
            found=f"no seconds of every case: {reason}",
            expected="the file that `segduet predict` wrote",
            remedy="Restore it, or predict again.",
        ) from reason


def _of_another(run: Path, found: str) -> RequestError:
    return RequestError(
        "--evaluation",
        found=found,
        expected=f"an evaluation of answers by {run}, alone or with others",
        remedy="Name the evaluation of this run's predictions, or document the other run.",
    )
