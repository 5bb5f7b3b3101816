"""`segduet report`: one page from a run, an evaluation, or both; or from a comparison of runs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segduet.core.errors import RequestError
from segduet.core.files import read_json_lines, write_text
from segduet.core.folders import DataRoot
from segduet.core.manifest import RunManifest, read_manifest, utc
from segduet.core.scores import CaseScores
from segduet.core.tasks import TaskSpec
from segduet.evaluation.cohort import read_summary
from segduet.evaluation.comparison_file import read_comparison
from segduet.evaluation.scores_file import read_scores
from segduet.reporting.anonymous import without_names
from segduet.reporting.case_order import CaseChoice
from segduet.reporting.case_pictures import CasePictures
from segduet.reporting.comparison_page import render_comparison
from segduet.reporting.html_report import ReportInputs, render_report
from segduet.reporting.training_summary import training_summary
from segduet.workflows.evaluation import SCORES_FILE, SUMMARY_FILE
from segduet.workflows.reference_dataset import ReferenceDataset
from segduet.workflows.report_pictures import PictureSources, case_pictures
from segduet.workflows.report_sources import ReportSources, Results, read_advice
from segduet.workflows.run_record import read_run_record


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What a page holds beyond figures and charts.

    Attributes:
        pictures: cases with pictures in the table, `all`, `none` or `worst:N`.
        viewer: cases whose volumes are in the page for its viewer, written alike.
        is_anonymous: number the cases, and leave folders and lists of cases out of the record.
    """

    pictures: str = "worst:500"
    viewer: str = "none"
    is_anonymous: bool = False


def report(
    root: DataRoot,
    sources: Sequence[Path],
    out: Path,
    options: ReportOptions = ReportOptions(),
) -> RunManifest:
    """Writes the page, and beside it the training summary as text where a run is given.

    The manifest is `<page>_manifest.json`, since pages often lie in an evaluation folder, which
    has one of its own.

    Args:
        root: where datasets lie.
        sources: a run folder (training, and its validation), an evaluation folder, or one of each;
            the evaluation's results then stand beside the run's curves. A folder of advice may
            come with them. Or a folder of `compare`, alone.
        out: the page to write.
        options: see there.

    Raises:
        RequestError: folders that make no report, a choice of cases that is none, or options that
            a comparison has no use for.
        DataError: a damaged artefact.
    """
    started = time.time()
    found = ReportSources.of(sources)
    if found.comparison:
        texts, warnings = {out: _comparison(found.comparison, options)}, list[str]()
    else:
        inputs = _inputs(root, found, options)
        texts = {out: render_report(inputs)}
        if inputs.metrics_history:
            texts[out.with_name("training_summary.md")] = _training_summary(inputs)
        warnings = [f"{p.case}: {p.left_out}" for p in inputs.pictures if p.left_out]
    for target, text in texts.items():
        write_text(target, text)
    manifest = RunManifest(
        command="report",
        arguments={"sources": [str(s) for s in sources], **asdict(options)},
        outcome={"written": [str(target) for target in texts], "bytes": out.stat().st_size},
        warnings=warnings,
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(out.parent, f"{out.stem}_manifest.json")
    return manifest


def _comparison(source: Path, options: ReportOptions) -> str:
    if options != ReportOptions():
        raise RequestError(
            str(source.parent),
            found="--pictures, --viewer or --anonymous with a comparison",
            expected="none of them: a comparison shows no cases",
            remedy="Leave them out, or write the report of one of the runs.",
        )
    return render_comparison(read_comparison(source))


def _training_summary(inputs: ReportInputs) -> str:
    rule = inputs.record["training"].get("selection_rule", "last")
    return training_summary(
        inputs.title,
        inputs.metrics_history or (),
        inputs.summary,
        selected_by=None if rule == "last" else "full_case/score",
        facts=inputs.facts,
    )


def _inputs(root: DataRoot, found: ReportSources, options: ReportOptions) -> ReportInputs:
    shown = {
        "pictures": CaseChoice.parse(options.pictures, where="--pictures"),
        "viewer": CaseChoice.parse(options.viewer, where="--viewer"),
    }
    run, results = found.run, found.results
    record = read_run_record(run) if run else None
    reference = results.reference if results else (record or {})["dataset"]
    dataset = ReferenceDataset.open(root, reference)
    cases: Sequence[CaseScores] = ()
    pictures: Sequence[CasePictures] = ()
    if results:
        cases = read_scores(results.folder / SCORES_FILE, _answered(results, dataset))
        sources = PictureSources.of(dataset, results.predictions)
        pictures = case_pictures(sources, cases, **shown)
    inputs = ReportInputs(
        title=f"segduet report: {Path(reference).name}",
        labels=dataset.description.label_scheme,
        facts=_facts(record, results),
        summary=read_summary(results.folder / SUMMARY_FILE) if results else None,
        cases=cases,
        metrics_history=read_json_lines(run / "metrics.jsonl") if run else None,
        record=_records(record, results),
        advice=read_advice(found.advice) if found.advice else (),
        pictures=pictures,
    )
    return without_names(inputs) if options.is_anonymous else inputs


def _records(
    record: dict[str, Any] | None, results: Results | None
) -> dict[str, Mapping[str, Any]]:
    """Training, prediction and evaluation as far as they left a record; results stay out of it."""
    found = {"training": record}
    if results:
        made = (read_manifest(results.predictions, by) for by in ("predict", "cleanup apply"))
        found["prediction"] = next(filter(None, made), None)
        found["evaluation"] = read_manifest(results.folder, "evaluate")
    return {
        name: {key: content[key] for key in content if key != "outcome"}
        for name, content in found.items()
        if content
    }


def _answered(results: Results, dataset: ReferenceDataset) -> list[TaskSpec]:
    """The tasks that were scored; an evaluation of masks alone has none."""
    answered = read_summary(results.folder / SUMMARY_FILE)["classification"]
    return [task for task in dataset.description.tasks if task.name in answered]


def _facts(record: dict[str, Any] | None, results: Results | None) -> dict[str, str]:
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
