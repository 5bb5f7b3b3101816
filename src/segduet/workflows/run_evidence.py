"""Everything that lies on disk about a training and its evaluation, read for the documents."""

import importlib.util
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segduet.core.cases import CaseTable
from segduet.core.description import DatasetDescription
from segduet.core.errors import RequestError
from segduet.core.files import read_json_lines, sha256
from segduet.core.folders import DataRoot
from segduet.core.manifest import MANIFEST_FILE, read_manifest
from segduet.core.plan import Plan
from segduet.core.tasks import TaskSpec
from segduet.evaluation.cohort import read_summary
from segduet.reporting.documents.evidence import ClassCount, Cohort, Evidence
from segduet.workflows.evaluation import SUMMARY_FILE
from segduet.workflows.kept_epoch import with_selection_scores
from segduet.workflows.models import MODEL_FILE, open_model
from segduet.workflows.run_folder import VALIDATION
from segduet.workflows.run_record import RUN_RECORD, read_run_record
from segduet.workflows.scored_answers import ScoredAnswers, require_own_validation, scored_answers

if TYPE_CHECKING:
    from segduet.networks.module_record import NetworkSummary

_HISTORY = "metrics.jsonl"
_ARTEFACTS = (RUN_RECORD, _HISTORY, MANIFEST_FILE, MODEL_FILE, f"{VALIDATION}/{SUMMARY_FILE}")


def gather_evidence(
    root: DataRoot, run: Path, evaluated: Path | None, *, with_network: bool
) -> tuple[Evidence, list[str]]:
    """Reads every artefact there is, and says in a sentence each which are not.

    Args:
        root: where the raw dataset with its cases.csv is looked for.
        run: run folder of `segduet train`.
        evaluated: folder of `segduet evaluate`; None takes the run's own validation, if any.
        with_network: whether to build the trained network and run a window through it.

    Raises:
        RequestError: the evaluation folder has no summary.json, or is of another model's answers.
        DataError: a damaged artefact.
    """
    folder = run.parent
    record = read_run_record(run)
    results = _results(run, evaluated)
    is_own = results is None or results.resolve() == (run / VALIDATION).resolve()
    evaluation = None if is_own or results is None else read_manifest(results, "evaluate")
    answers = scored_answers(run, evaluation)
    description = _optional(folder / "dataset.json", DatasetDescription.read)
    network, reason = _network(run) if with_network else (None, "")
    evidence = Evidence(
        run=record,
        history=_history(run, record),
        plan=_optional(folder / "plans.json", Plan.read),
        description=description,
        summary=read_summary(results / SUMMARY_FILE) if results else None,
        reference=str(record["dataset"]) if is_own else _reference(root, evaluation),
        evaluated=_own_validation(record) if is_own else _evaluated(evaluation, answers),
        training_manifest=read_manifest(run, "train"),
        evaluation_manifest=evaluation,
        prediction_manifest=answers.manifest,
        case_seconds=answers.case_seconds,
        cohort=_cohort(root, record, description.tasks if description else ()),
        network=network,
        model_sha256=_optional(run / MODEL_FILE, sha256),
        files=[name for name in _ARTEFACTS if (run / name).is_file()],
    )
    return evidence, [reason] if reason else []


def _optional(path: Path, read: Any) -> Any:
    return read(path) if path.is_file() else None


def _results(run: Path, evaluated: Path | None) -> Path | None:
    if evaluated is None:
        own = run / VALIDATION
        return own if (own / SUMMARY_FILE).is_file() else None
    if not (evaluated / SUMMARY_FILE).is_file():
        raise RequestError(
            str(evaluated),
            found=f"no {SUMMARY_FILE}",
            expected="a folder of `segduet evaluate`",
            remedy="Check the path, or leave --evaluation out.",
        )
    if evaluated.name == VALIDATION and (evaluated.parent / RUN_RECORD).is_file():
        require_own_validation(run, evaluated)
    return evaluated


def _reference(root: DataRoot, evaluation: Mapping[str, Any] | None) -> str:
    """Name of the dataset or folder the predictions were compared with; never a path."""
    named = (evaluation or {}).get("arguments", {}).get("reference")
    if named is None:
        return "a dataset that is not recorded"
    try:
        return root.dataset(str(named)).name
    except RequestError:  # a folder of references, or a dataset that is not here any more
        return Path(str(named)).name


def _own_validation(record: Mapping[str, Any]) -> str:
    return f"validation cases of fold {record['fold']}, at the end of the training"


def _evaluated(evaluation: Mapping[str, Any] | None, answers: ScoredAnswers) -> str:
    """Which cases were measured, in words, and whether it is known who answered them."""
    arguments = (evaluation or {}).get("arguments", {})
    if evaluation is None:
        cases = "which cases is not recorded"
    elif arguments.get("split"):
        cases = f"split {arguments['split']}"
    elif arguments.get("fold"):
        cases = f"validation cases of fold {arguments['fold']}"
    else:
        cases = "all cases something is known about"
    return cases if answers.is_of_run else f"{cases}; the model that answered is not recorded"


def _history(run: Path, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not (run / _HISTORY).is_file():
        return []
    return with_selection_scores(read_json_lines(run / _HISTORY), record)


def _cohort(root: DataRoot, record: Mapping[str, Any], tasks: Sequence[TaskSpec]) -> Cohort | None:
    source = root.raw / str(record["dataset"]) / "cases.csv"
    if not source.is_file() or not {"train_cases", "validation_cases"} <= record.keys():
        return None
    rows = {row.case: row for row in CaseTable.read(source, tasks)}
    train, validation = (
        [rows[case] for case in record[kind] if case in rows]
        for kind in ("train_cases", "validation_cases")
    )
    trained, validated = {r.patient for r in train}, {r.patient for r in validation}
    both = [*train, *validation]
    return Cohort(
        train_patients=len(trained),
        validation_patients=len(validated),
        shared_patients=len(trained & validated),
        sites=len({row.site for row in both if row.site}),
        classes=tuple(
            ClassCount(
                task=task.name,
                name=name,
                train=_count(train, task)[name],
                validation=_count(validation, task)[name],
            )
            for task in tasks
            if task.has_exclusive_classes
            for name in task.classes
        ),
        unlabelled={t.name: sum(t.name not in row.labels for row in both) for t in tasks},
    )


def _count(rows: Sequence[Any], task: TaskSpec) -> Counter[str]:
    return Counter(row.labels[task.name] for row in rows if task.name in row.labels)


def _network(run: Path) -> "tuple[NetworkSummary | None, str]":
    """The trained network as it ran on one window, or why it could not be."""
    if not (run / MODEL_FILE).is_file():
        return None, f"network: not measured, {run.name} has no {MODEL_FILE}"
    if not all((run.parent / name).is_file() for name in ("plans.json", "dataset.json")):
        return None, "network: not measured, plans.json or dataset.json is missing"
    if importlib.util.find_spec("torch") is None:
        return None, "network: not measured, PyTorch is not installed"
    from segduet.networks.module_summary import summarize_network
    from segduet.workflows.trained_networks import load_networks, num_network_channels

    folder = open_model(run)
    return (
        summarize_network(
            load_networks(folder)[0].network,
            num_channels=num_network_channels(folder),
            patch=folder.configuration.patch_size,
        ),
        "",
    )
