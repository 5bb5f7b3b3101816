"""Which artefacts a report is made of: the folders a user names, each told by a file in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from segduet.core.errors import DataError, RequestError
from segduet.core.files import read_json
from segduet.core.manifest import MANIFEST_FILE, read_manifest
from segduet.workflows.advising import ADVICE_FILE
from segduet.workflows.comparison import COMPARISON_FILE
from segduet.workflows.evaluation import SUMMARY_FILE
from segduet.workflows.run_record import RUN_RECORD, read_run_record

_EXPECTED = (
    "a run folder of `segduet train`, a folder of `segduet evaluate`, or one of each, with the "
    "folder of `segduet advise` beside them if you like; or one folder of `segduet compare`"
)
_PIECE = {"subject", "verdict", "metrics", "why", "source"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """One evaluation on disk.

    Attributes:
        folder: holds summary.json and scores.csv.
        predictions: folder of the masks.
        reference: dataset name or folder.
    """

    folder: Path
    predictions: Path
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSources:
    """The folders of one report.

    Attributes:
        run: a training.
        results: an evaluation, or else the validation of the run.
        advice: which metrics suit the dataset.
        comparison: `comparison.json`; then there is nothing else.
    """

    run: Path | None = None
    results: Results | None = None
    advice: Path | None = None
    comparison: Path | None = None

    @classmethod
    def of(cls, folders: Sequence[Path]) -> Self:
        """Tells the folders by what they hold.

        Raises:
            RequestError: a folder that is none of these, two of a kind, advice alone, or anything
                beside a comparison.
            DataError: the evaluation does not say what was compared.
        """
        comparison = _one(folders, COMPARISON_FILE)
        if comparison:
            _refuse_others(folders, [comparison])
            return cls(comparison=comparison / COMPARISON_FILE)
        run, evaluation = _one(folders, RUN_RECORD), _one(folders, SUMMARY_FILE)
        advice = _one(folders, ADVICE_FILE)
        _refuse_others(folders, [run, evaluation, advice if run or evaluation else None])
        results = _of_evaluation(evaluation) if evaluation else _of_run(run)
        return cls(run=run, results=results, advice=advice)


def read_advice(folder: Path) -> list[Mapping[str, Any]]:
    """The pieces of advice that `segduet advise` wrote into a folder.

    Raises:
        DataError: not JSON, or not a file of `advise`.
    """
    source = folder / ADVICE_FILE
    content = read_json(source)
    pieces = content.get("advice") if isinstance(content, dict) else None
    is_list = isinstance(pieces, list) and all(isinstance(piece, dict) for piece in pieces)
    if not is_list or not all(set(piece) >= _PIECE for piece in pieces or ()):
        raise DataError(
            str(source),
            found="something else than pieces of advice",
            expected="a file that `segduet advise` wrote",
            remedy="Write it again with `segduet advise DATASET --out FOLDER`.",
        )
    return list(pieces or ())


def _one(folders: Sequence[Path], file: str) -> Path | None:
    """The one folder that holds a file of this name; None where none does."""
    found = [folder for folder in folders if (folder / file).is_file()]
    if len(found) > 1:
        raise RequestError(
            "segduet report",
            found=f"{len(found)} folders with a {file}: {[str(f) for f in found]}",
            expected="at most one run folder and one evaluation folder",
            remedy="Write one report for each, or `segduet compare` them and report on that.",
        )
    return found[0] if found else None


_NOTHING = "neither run.json nor summary.json: there is no such folder"


def _refuse_others(folders: Sequence[Path], known: Sequence[Path | None]) -> None:
    for folder in folders:
        if folder not in known:
            raise RequestError(
                str(folder),
                found="a folder that does not belong in this report"
                if folder.is_dir()
                else _NOTHING,
                expected=_EXPECTED,
                remedy="Check the path.",
            )


def _of_evaluation(folder: Path) -> Results:
    arguments = (read_manifest(folder, "evaluate") or {}).get("arguments", {})
    if not {"predictions", "reference"} <= set(arguments):
        raise DataError(
            str(folder / MANIFEST_FILE),
            found="no file that `segduet evaluate` wrote",
            expected="the manifest of the evaluation, which says what was compared",
            remedy="Evaluate again, into a folder of its own.",
        )
    return Results(
        folder=folder,
        predictions=Path(arguments["predictions"]),
        reference=arguments["reference"],
    )


def _of_run(run: Path | None) -> Results | None:
    if run is None or not (run / "validation" / SUMMARY_FILE).is_file():
        return None
    validation = run / "validation"
    dataset = read_run_record(run)["dataset"]
    return Results(folder=validation, predictions=validation, reference=dataset)
