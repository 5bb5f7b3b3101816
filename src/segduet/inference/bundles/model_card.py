"""The draft of a model card: what the records say, and what only a person can say (B21).

Every part is marked as filled from the record or as needing a person; nothing is guessed.

Source of the parts: Mitchell et al. 2019, "Model Cards for Model Reporting", section 4,
https://doi.org/10.1145/3287560.3287596.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segduet.core.description import DatasetDescription
from segduet.core.plan import Plan
from segduet.core.tasks import TaskSpec
from segduet.core.version import __version__
from segduet.inference.bundles.manifest import BundleMember, BundleSource

FROM_RECORD = "*filled from the record*"
NEEDS_PERSON = "*needs a person*"
_NOT_RECORDED = "not in the record"

#: What no record of ours knows: title, and what a person is to write.
OPEN_PARTS = (
    ("Owner and contact", "who answers for this model, and where to write"),
    ("Licence", "of the weights, and what the licences of the data allow"),
    ("Intended use", "by whom, for what decision, and with whose review"),
    ("Uses to keep away from", "patients, scanners and questions it was not made for"),
    ("Origin of the data", "sites, scanners, dates, inclusion and exclusion, ethics approval"),
    ("People in the data", "age, sex, ethnicity, disease stages, and who is missing"),
    ("Reference standard", "who drew and read, how experienced, and how far they agree"),
    ("External validation", "results on data of another site"),
    ("Risks and known failures", "what goes wrong, how one notices, and what then"),
)

#: What is told of a training: label, and path in its run.json.
SETTINGS = (
    ("recipe", "recipe.name"),
    ("answers", "recipe.answers"),
    ("epochs done", "epochs_done"),
    ("epochs planned", "recipe.epochs"),
    ("steps per epoch", "recipe.steps_per_epoch"),
    ("seed", "seed"),
    ("network", "recipe.network.kind"),
    ("parameters", "num_parameters"),
    ("head", "recipe.head.kind"),
    ("optimizer", "recipe.optimizer.name"),
    ("learning rate", "recipe.optimizer.learning_rate"),
    ("schedule", "recipe.schedule.kind"),
    ("augmentation", "recipe.sampling.augmentation"),
    ("loss of the masks", "recipe.segmentation_loss.kind"),
    ("loss of the classes", "recipe.classification_loss.kind"),
    ("balancing", "recipe.balancing.kind"),
    ("averaging of weights", "recipe.averaging.kind"),
    ("choice of the weights", "selection_formula"),
    ("chosen from", "selected_from"),
    ("device", "device"),
    ("precision", "precision"),
)

#: What Markdown, HTML or a formula may begin with.
_MEANINGFUL = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|[\\`*{}\[\]<>#|~&$]")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEvidence:
    """What is known of one member's training.

    Attributes:
        run: content of its run.json; None where there is none, as with stock nnU-Net.
        scores: content of the summary.json measured on its validation cases; None where nobody
            measured.
    """

    run: Mapping[str, Any] | None = None
    scores: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRecord:
    """All that a card is drafted from; see `write_bundle_folder`.

    Attributes:
        evidence: by member name.
        gate: report of the accuracy gate, plain types; None where none was run.
    """

    plan: Plan
    description: DatasetDescription
    configuration_name: str
    members: tuple[BundleMember, ...]
    source: BundleSource
    evidence: Mapping[str, TrainingEvidence] = field(default_factory=dict)
    gate: Mapping[str, Any] | None = None


def model_card(record: CardRecord) -> str:
    """The card as Markdown."""
    parts = (_model, _data, _training, _scores, _gate, _open_parts)
    name = f"{record.plan.dataset_name}, {record.configuration_name}"
    lines = [
        f"# Model card: {plain(name)}",
        "",
        f"Drafted by segduet {__version__} from the records of this model alone. Parts marked"
        f" {NEEDS_PERSON} cannot be known from them.",
        "",
    ]
    for part in parts:
        lines += part(record)
    return "\n".join(lines).rstrip() + "\n"


def plain(value: object) -> str:
    """A value from a record as Markdown that shows it literally, on one line.

    An underscore between letters or digits stays as it is: it means nothing there.
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return _MEANINGFUL.sub(r"\\\g<0>", text)


def _heading(title: str, status: str) -> list[str]:
    return [f"## {title}", "", status, ""]


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    written = [[plain(cell) for cell in row] for row in rows]
    ruled = [list(map(plain, columns)), ["---"] * len(columns), *written]
    return [*("| " + " | ".join(row) + " |" for row in ruled), ""]


def _model(record: CardRecord) -> list[str]:
    configuration = record.plan.configuration(record.configuration_name)
    regions = list(record.description.label_scheme.foreground)
    segments = all(member.network.with_masks for member in record.members)
    tasks = record.members[0].network.tasks
    rows: list[tuple[object, object]] = [
        ("masks of", ", ".join(regions) if segments else "none"),
        *(("answer about the case", _question(task)) for task in tasks),
        ("image channels", ", ".join(record.description.channel_names.values())),
        ("plan", record.plan.plans_name),
        ("patch, voxels", " x ".join(map(str, configuration.patch_size))),
        ("spacing, mm", " x ".join(f"{size:g}" for size in configuration.spacing)),
        ("converted from", record.source.folder),
    ]
    members = [
        (m.name, m.network.format, m.network.stored_precision, record.source.weights_sha256[m.name])
        for m in record.members
    ]
    return [
        *_heading("Model", FROM_RECORD),
        *_table(("property", "value"), rows),
        *_table(("network", "format", "precision", "SHA-256 of the trained weights"), members),
    ]


def _question(task: TaskSpec) -> str:
    answers = ", ".join(task.classes) or f"a number{f' in {task.unit}' if task.unit else ''}"
    return f"{task.name} ({task.kind}): {answers}"


def _data(record: CardRecord) -> list[str]:
    rows: list[tuple[object, object]] = [
        ("dataset", record.plan.dataset_name),
        ("training cases in dataset.json", record.description.num_training),
        ("file ending", record.description.file_ending),
    ]
    for member in record.members:
        run = _evidence(record, member).run
        for kind in ("train_cases", "validation_cases"):
            cases = run.get(kind) if run else None
            said = _NOT_RECORDED if cases is None else len(cases)
            rows.append((f"{kind.replace('_', ' ')} of network {member.name}", said))
    return [*_heading("Data", FROM_RECORD), *_table(("property", "value"), rows)]


def _training(record: CardRecord) -> list[str]:
    runs = [_evidence(record, member).run for member in record.members]
    if not any(runs):
        missing = "No record of the training came with the model (no run.json)."
        return [*_heading("Training", NEEDS_PERSON), missing, ""]
    rows = [(label, *(setting(run, key) for run in runs)) for label, key in SETTINGS]
    columns = ("setting", *(f"network {member.name}" for member in record.members))
    return [*_heading("Training", FROM_RECORD), *_table(columns, rows)]


def setting(run: Mapping[str, Any] | None, key: str) -> object:
    """The entry of a run.json at a path such as `recipe.name`; "not in the record" without it."""
    value: Any = run
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return _NOT_RECORDED if value is None else value


def _scores(record: CardRecord) -> list[str]:
    measured = [(m, s) for m in record.members if (s := _evidence(record, m).scores)]
    if not measured:
        missing = "No measured scores came with the model (no summary.json)."
        return [*_heading("Measured scores", NEEDS_PERSON), missing, ""]
    rows = [(member.name, *row) for member, scores in measured for row in score_rows(scores)]
    columns = ("network", "of", "metric", "value", "95 % interval", "cases", "remark")
    notes = [
        f"Network {plain(m.name)}: {plain(s.get('n_cases', _NOT_RECORDED))} cases; chosen from"
        f" {plain(s.get('selected_from', _NOT_RECORDED))} candidates on them; interval:"
        f" {plain(s.get('interval', _NOT_RECORDED))}."
        for m, s in measured
    ]
    if others := [m.name for m in record.members if not _evidence(record, m).scores]:
        notes.append(f"Not measured: network {plain(', '.join(others))}.")
    return [*_heading("Measured scores", FROM_RECORD), *_table(columns, rows), *notes, ""]


def score_rows(scores: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    """Subject, metric, value, interval, n and remark of every figure of a summary.json."""
    for kind, value_key in (("segmentation", "mean"), ("classification", "value")):
        for subject, metrics in scores.get(kind, {}).items():
            for name, figure in metrics.items():
                if isinstance(figure, Mapping) and {value_key, "ci95", "n"} <= figure.keys():
                    yield (subject, name, *_figure(figure, value_key))


def _figure(figure: Mapping[str, Any], value_key: str) -> tuple[object, ...]:
    value, interval = figure[value_key], figure["ci95"]
    unit = f" {figure['unit']}" if figure.get("unit") else ""
    return (
        "none" if value is None else f"{value:.3f}{unit}",
        "none" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}",
        figure["n"],
        figure.get("reason", ""),
    )


def _gate(record: CardRecord) -> list[str]:
    title = "What the conversion changed"
    if record.gate is None:
        missing = "No accuracy gate was run on this conversion."
        return [*_heading(title, NEEDS_PERSON), missing, ""]
    rows = list(_flat(record.gate))
    return [*_heading(title, FROM_RECORD), *_table(("figure of the accuracy gate", "value"), rows)]


def _flat(content: Any, key: str = "") -> Iterator[tuple[str, object]]:
    """Figures of nested records, by their path."""
    if isinstance(content, Mapping):
        for name, value in content.items():
            yield from _flat(value, f"{key}.{name}" if key else str(name))
    elif isinstance(content, list | tuple):
        for index, value in enumerate(content):
            yield from _flat(value, f"{key}[{index}]")
    else:
        yield key, "none" if content is None else content


def _open_parts(_record: CardRecord) -> list[str]:
    lines: list[str] = []
    for title, question in OPEN_PARTS:
        lines += [*_heading(title, NEEDS_PERSON), f"To be written: {question}.", ""]
    return lines


def _evidence(record: CardRecord, member: BundleMember) -> TrainingEvidence:
    return record.evidence.get(member.name, TrainingEvidence())
