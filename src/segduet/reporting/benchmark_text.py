"""A benchmark as a document and as a table (F86)."""

import math
import shlex
from collections.abc import Mapping, Sequence

from segduet.core.scores import Estimate
from segduet.evaluation.bench_figures import BETWEEN_ARMS
from segduet.evaluation.bench_record import ArmRecord, BenchRecord, Figure
from segduet.evaluation.output_agreement import Agreement
from segduet.evaluation.paired_timing import ArmName

FIGURE_COLUMNS = ("", "baseline", "candidate", "ratio (geometric mean)", "ratio (median)", "n")


def figure_rows(figures: Sequence[Figure]) -> list[list[str]]:
    """One row of `FIGURE_COLUMNS` per figure; every number with its 95 % interval."""
    return [
        [
            figure.name,
            _amount(figure.baseline, figure.unit),
            _amount(figure.candidate, figure.unit),
            _ratio(figure.ratio),
            _ratio(figure.median_ratio),
            str(max(figure.baseline.n, figure.candidate.n)),
        ]
        for figure in figures
    ]


def markdown(record: BenchRecord) -> str:
    """The whole benchmark as a document: verdict, arms, figures, outputs, machine, method."""
    design = record.design
    sections = [
        "# Benchmark",
        *(f"- {sentence}" for sentence in record.verdict.sentences),
        "",
        "```sh",
        shlex.join(record.request),
        "```",
        "",
        "## Arms",
        *_table(("", *ArmName), _arm_rows(record.arms)),
        "",
        "## Figures",
        *_table(FIGURE_COLUMNS, figure_rows(record.figures)),
        "",
        "Amounts are medians over the rounds. Ratios are baseline / candidate of the same round: "
        "above 1 the candidate is faster or smaller. In brackets: 95 % intervals by resampling the "
        f"rounds (seed {design.seed}).",
        "",
        "## Outputs",
        *_table(
            ("", "verdict", "cases", "equal voxels (worst)", "other class", "probabilities"),
            [_agreement_row(name, found) for name, found in record.agreement.items()],
        ),
        *_label_lines(record.agreement),
        "",
        "## Method",
        *_method_lines(record),
        "",
        "## Machine",
        *_table(("", ""), [[name, _plain(value)] for name, value in record.environment.items()]),
        "",
    ]
    return "\n".join(sections)


def _arm_rows(arms: Mapping[ArmName, ArmRecord]) -> list[list[str]]:
    told = [arms[name] for name in ArmName]
    return [
        ["kind", *(arm.kind for arm in told)],
        ["model", *(arm.model for arm in told)],
        ["options", *(_plain(arm.options) for arm in told)],
        ["not known to it", *(", ".join(arm.not_taken_over) or "-" for arm in told)],
        ["command", *(f"`{shlex.join(arm.command)}`" for arm in told)],
    ]


def _method_lines(record: BenchRecord) -> list[str]:
    design, busy = record.design, record.contamination
    order = ", ".join(first[0].upper() for first in design.order)
    lines = [
        f"- {design.rounds} rounds of fresh processes, after {design.warm_up_rounds} warm-up "
        "rounds that are in no figure.",
        f"- Order ABBA; first of each round (C candidate, B baseline): {order}.",
        f"- Cases: {len(design.cases)}.",
        "- Cold: the whole command, from process start to its end.",
        f"- Warm: one process loads the model and predicts all cases {design.passes} times; the "
        "steady state leaves the first pass out; preparation includes reading.",
        "- Peak memory: resident memory of the largest process of an arm, MB of 10**6 bytes.",
    ]
    if busy.largest_share is not None:
        lines.append(
            f"- Other processes used {_percent(busy.median_share)} of the machine in the median "
            f"sample and {_percent(busy.largest_share)} in the worst, the hypervisor took at most "
            f"{_percent(busy.largest_steal_share)}; {busy.busy_samples} of {busy.n} samples above "
            f"{busy.threshold:.0%}; none dropped."
        )
    return [*lines, f"- {record.started}, {record.seconds:.0f} s in all."]


def _agreement_row(name: str, found: Agreement) -> list[str]:
    share = found.worst_equal_share
    flips, gap = found.num_class_flips, found.largest_number_difference
    return [
        _pair(name),
        str(found.verdict),
        str(found.n),
        "no masks" if share is None else f"{share:.4%}",
        "not compared" if flips is None else f"{flips} cases",
        "not compared" if gap is None else f"differ by at most {gap:.2g}",
    ]


def _pair(name: str) -> str:
    return name if name == BETWEEN_ARMS else f"{name}, warm against cold"


def _label_lines(agreement: Mapping[str, Agreement]) -> list[str]:
    rows = [
        [
            _pair(name),
            str(label),
            _ratio(found.mean_dsc),
            f"{found.worst_dsc:.4f} ({found.worst_case})",
            str(found.mean_dsc.n),
        ]
        for name, one in agreement.items()
        for label, found in one.labels.items()
    ]
    columns = ("", "label", "mean Dice between the two", "worst (case)", "n")
    return ["", *_table(columns, rows)] if rows else []


def _amount(estimate: Estimate, unit: str) -> str:
    if estimate.value is None:
        return estimate.reason
    value = f"{_digits(estimate.value)} {unit}".strip()
    if estimate.ci95 is None:
        return f"{value} (no interval: {estimate.reason})"
    low, high = (_digits(limit) for limit in estimate.ci95)
    return f"{value} ({low} to {high})"


def _ratio(estimate: Estimate) -> str:
    return _amount(estimate, "")


def _digits(value: float) -> str:
    """Three significant digits, never as a power of ten for amounts of everyday size."""
    if value == 0 or not 1e-6 < abs(value) < 1e9:
        return f"{value:.3g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def _percent(share: float | None) -> str:
    return "untold" if share is None else f"{share:.1%}"


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_plain(entry)}" for name, entry in value.items()) or "-"
    return "not installed" if value is None else str(value)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
