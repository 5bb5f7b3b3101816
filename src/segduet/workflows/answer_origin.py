"""How the answers of validation folds were made, and by which weights, checked against records."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from segduet.core.errors import RequestError
from segduet.evaluation.calibration_file import AnswerSettings
from segduet.workflows.run_record import RUN_RECORD, read_run_record
from segduet.workflows.validation_folds import ValidatedFold

#: How a training answers its validation cases, see `full_validation`.
_OF_TRAINING = AnswerSettings(mirrored=True, step=0.5, aggregation="case")


def common_settings(folds: Sequence[ValidatedFold]) -> AnswerSettings:
    """How the answers of all folds were made.

    Raises:
        RequestError: fast mode, 8 bits, nothing recorded, or folds that differ.
    """
    found = {fold.source: _settings(fold) for fold in folds}
    if len(set(found.values())) > 1:
        raise RequestError(
            ", ".join(map(str, found)),
            found="; ".join(sorted({each.to_text() for each in found.values()})),
            expected="folds that answered alike",
            remedy="Predict all of them with the same options.",
        )
    return next(iter(found.values()))


def require_weights(fold: ValidatedFold, model: Path, weights_sha256: Mapping[str, str]) -> None:
    """Checks, as far as it was recorded, that the weights of today gave the answers.

    Args:
        fold: the answers.
        model: model folder.
        weights_sha256: file of weights, relative to the model folder -> hash.

    Raises:
        RequestError: others gave them, or nothing is recorded of a prediction's.
    """
    if not fold.predicted:
        _require_validated(fold)
        return
    recorded = set(fold.predicted.get("weights_sha256", {}).values())
    own = {file: h for file, h in weights_sha256.items() if Path(file).parts[0] == _folder(fold)}
    strange = [file for file, digest in own.items() if digest not in recorded]
    if strange:
        raise RequestError(
            str(fold.source),
            found=f"answers by other weights than {model / strange[0]} holds by now"
            if recorded
            else "answers of which it is not recorded what weights gave them",
            expected="answers by the weights that are to be calibrated",
            remedy="Predict and evaluate the fold's validation cases again.",
        )


def _require_validated(fold: ValidatedFold) -> None:
    """Refuses answers that an earlier training left where the last one gave none."""
    if not (fold.source / RUN_RECORD).is_file():
        return  # a stock training, which always validates at its end
    recipe = read_run_record(fold.source)["recipe"]
    if recipe.get("validation", {}).get("final") is False:
        raise RequestError(
            str(fold.source),
            found="answers of an earlier training: the last one had validation.final=false",
            expected="answers to the validation cases by the finished weights",
            remedy="Predict the fold's validation cases, evaluate with --fold, and name that.",
        )


def _settings(fold: ValidatedFold) -> AnswerSettings:
    asked = fold.predicted
    if not asked:
        return _OF_TRAINING
    known = {"mode", "mirrored", "step", "aggregation"} <= asked.keys()
    is_exact = asked.get("mode") == "exact" and asked.get("precision") != "int8"
    if not (known and is_exact):
        raise RequestError(
            str(fold.source),
            found=f"answers in {asked.get('mode')} mode, precision {asked.get('precision')}"
            if known
            else "predictions of which it is not recorded how they were made",
            expected="answers in exact mode, which are the network's own",
            remedy="Predict the fold's validation cases again, with --mode exact.",
        )
    return AnswerSettings.model_validate({k: asked[k] for k in AnswerSettings.model_fields})


def _folder(fold: ValidatedFold) -> str:
    return f"fold_{fold.fold}"
