"""`segduet report`: one page from a run folder, an evaluation folder, or both."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segduet.core.errors import DataError, RequestError
from segduet.core.files import read_json, read_json_lines, write_text
from segduet.core.folders import DataRoot
from segduet.core.manifest import RunManifest, utc
from segduet.core.scores import CaseScores
from segduet.core.tasks import TaskSpec
from segduet.evaluation.cohort import read_summary
from segduet.evaluation.scores_file import read_scores
from segduet.io.images import read_image, read_label_map
from segduet.reporting.html_report import ReportInputs, render_report
from segduet.reporting.overlays import OverlayCase, choose_overlay_cases
from segduet.reporting.training_summary import training_summary
from segduet.workflows.evaluation import SCORES_FILE, SUMMARY_FILE
from segduet.workflows.reference_dataset import ReferenceDataset
from segduet.workflows.run_record import RUN_RECORD, read_run_record


@dataclass(frozen=True, slots=True, kw_only=True)
class _Results:
    """One evaluation on disk.

    Attributes:
        folder: holds summary.json and scores.csv.
        predictions: folder of the masks.
        reference: dataset name or folder.
    """

    folder: Path
    predictions: Path
    reference: str


def report(root: DataRoot, sources: Sequence[Path], out: Path) -> RunManifest:
    """Writes the page, and beside it the training summary as text where a run is given.

    The manifest is `<page>_manifest.json`, since pages often lie in an evaluation folder, which
    has one of its own.

    Args:
        sources: a run folder (training, and its validation), an evaluation folder, or one of each;
            the evaluation's results then stand beside the run's curves.
        out: the page to write.

    Raises:
        RequestError: a folder that is neither, or two of a kind.
        DataError: a damaged artefact.
    """
    started = time.time()
    run = _one([s for s in sources if (s / RUN_RECORD).is_file()], "run folder")
    evaluation = _one([s for s in sources if (s / SUMMARY_FILE).is_file()], "evaluation folder")
    _refuse_others(sources, run, evaluation)
    results = _of_evaluation(evaluation) if evaluation else _of_run(run)
    inputs = _inputs(root, run, results)
    write_text(out, render_report(inputs))
    written = [str(out)]
    if inputs.metrics_history:
        text_file = out.with_name("training_summary.md")
        write_text(text_file, _training_summary(inputs))
        written.append(str(text_file))
    manifest = RunManifest(
        command="report",
        arguments={"sources": [str(s) for s in sources]},
        outcome={"written": written},
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(out.parent, f"{out.stem}_manifest.json")
    return manifest


def _training_summary(inputs: ReportInputs) -> str:
    rule = (inputs.run_record or {}).get("selection_rule", "last")
    return training_summary(
        inputs.title,
        inputs.metrics_history or (),
        inputs.summary,
        selected_by=None if rule == "last" else "full_case/score",
        facts=inputs.facts,
    )


def _one(folders: Sequence[Path], kind: str) -> Path | None:
    if len(folders) > 1:
        raise RequestError(
            "segduet report",
            found=f"{len(folders)} folders of the kind {kind}: {[str(f) for f in folders]}",
            expected="at most one run folder and one evaluation folder",
            remedy="Write one report for each.",
        )
    return folders[0] if folders else None


def _refuse_others(sources: Sequence[Path], run: Path | None, evaluation: Path | None) -> None:
    for source in sources:
        if source not in (run, evaluation):
            raise RequestError(
                str(source),
                found="neither run.json nor summary.json",
                expected="a run folder of `segduet train` or a folder of `segduet evaluate`",
                remedy="Check the path.",
            )


def _of_evaluation(folder: Path) -> _Results:
    source = folder / "manifest.json"
    manifest = read_json(source)
    if not isinstance(manifest, dict) or manifest.get("command") != "evaluate":
        raise DataError(
            str(source),
            found="a file that `segduet evaluate` did not write",
            expected="the manifest of the evaluation, which says what was compared",
            remedy="Evaluate again, into a folder of its own.",
        )
    arguments = manifest["arguments"]
    return _Results(
        folder=folder,
        predictions=Path(arguments["predictions"]),
        reference=arguments["reference"],
    )


def _of_run(run: Path | None) -> _Results | None:
    if run is None or not (run / "validation" / SUMMARY_FILE).is_file():
        return None
    validation = run / "validation"
    dataset = read_run_record(run)["dataset"]
    return _Results(folder=validation, predictions=validation, reference=dataset)


def _inputs(root: DataRoot, run: Path | None, results: _Results | None) -> ReportInputs:
    record = read_run_record(run) if run else None
    reference = results.reference if results else (record or {})["dataset"]
    dataset = ReferenceDataset.open(root, reference)
    labels = dataset.description.label_scheme
    cases: Sequence[CaseScores] = ()
    overlays: Sequence[OverlayCase] = ()
    if results:
        cases = read_scores(results.folder / SCORES_FILE, _answered(results, dataset))
        overlays = _overlays(results, dataset, cases)
    return ReportInputs(
        title=f"segduet report: {Path(reference).name}",
        labels=labels,
        facts=_facts(record, results),
        summary=read_summary(results.folder / SUMMARY_FILE) if results else None,
        cases=cases,
        metrics_history=read_json_lines(run / "metrics.jsonl") if run else None,
        run_record=record,
        overlays=overlays,
    )


def _answered(results: _Results, dataset: ReferenceDataset) -> list[TaskSpec]:
    """The tasks that were scored; an evaluation of masks alone has none."""
    answered = read_summary(results.folder / SUMMARY_FILE)["classification"]
    return [task for task in dataset.description.tasks if task.name in answered]


def _facts(record: dict[str, Any] | None, results: _Results | None) -> dict[str, str]:
    facts = {}
    if record:
        facts["Dataset"] = str(record["dataset"])
        facts["Training"] = (
            f"recipe {record['recipe']['name']}, {record['plans']}, {record['configuration']}, "
            f"fold {record['fold']}, seed {record['seed']}, {record['device']} "
            f"{record['precision']}"
        )
        facts["Training cases"] = str(len(record["train_cases"]))
    if results:
        facts["Predictions"] = results.predictions.name
    return facts


def _overlays(
    results: _Results, dataset: ReferenceDataset, cases: Sequence[CaseScores]
) -> list[OverlayCase]:
    images, references = dataset.image_files(), dataset.references()
    overlays = []
    for case, caption in choose_overlay_cases(cases, references.labels):
        mask = references.mask(case)
        if mask is None or case not in images:
            continue
        image, reference = read_image(images[case]), read_label_map(mask)
        prediction = read_label_map(results.predictions / f"{case}{references.file_ending}")
        overlays.append(
            OverlayCase(
                case=case,
                image=image.array,
                reference=reference.array[0],
                prediction=prediction.array[0],
                geometry=image.geometry,
                caption=caption,
            )
        )
    return overlays
