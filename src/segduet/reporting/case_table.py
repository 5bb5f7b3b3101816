"""The table of cases: what its cells say, and by which values its columns are sorted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores, ClassAnswer, Score
from segduet.core.tasks import TaskKind
from segduet.evaluation.cohort import mean_foreground_dsc
from segduet.reporting.answer_wording import answer_heading, answer_text, is_wrong
from segduet.reporting.case_order import worst_first
from segduet.reporting.wording import NOT_MEASURED, number_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell.

    Attributes:
        text: what it says.
        note: a second, quieter line.
        value: what the column is sorted by, a number or lower-case text; empty sorts last.
        is_wrong: whether it is a wrong answer.
    """

    text: str
    note: str = ""
    value: str = ""
    is_wrong: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRow:
    """One case: its id and the cells behind it.

    Attributes:
        case: case id.
        cells: in the order of `CaseTable.columns`, without the case itself.
        verdict: `right`, `wrong` or empty where no answer can be called either.
    """

    case: str
    cells: Sequence[Cell]
    verdict: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseTable:
    """All cases, worst first.

    Attributes:
        columns: headings, the case's own first.
        rows: see `worst_first`.
    """

    columns: Sequence[str] = ()
    rows: Sequence[CaseRow] = ()

    @property
    def has_verdicts(self) -> bool:
        """Whether any answer can be called right or wrong."""
        return any(row.verdict for row in self.rows)


def case_table(cases: Sequence[CaseScores], labels: LabelScheme) -> CaseTable:
    """Mean DSC, DSC and volumes of each region, and every answer, of each case."""
    tasks = {task: answer.kind for case in cases for task, answer in case.answers.items()}
    regions = list(labels.foreground) if any(case.segmentation for case in cases) else []
    headings = [answer_heading(task, kind) for task, kind in tasks.items()]
    columns = [
        "case",
        *(["mean DSC"] if regions else []),
        *(f"DSC {region}" for region in regions),
        *headings,
    ]
    ordered = worst_first(cases, labels)
    return CaseTable(columns=columns, rows=[_row(case, labels, regions, tasks) for case in ordered])


def _row(
    case: CaseScores,
    labels: LabelScheme,
    regions: Sequence[str],
    tasks: Mapping[str, TaskKind],
) -> CaseRow:
    cells = [_score_cell(mean_foreground_dsc(case, labels))] if regions else []
    cells += [_region_cell(case, region) for region in regions]
    cells += [_answer_cell(case.answers.get(task)) for task in tasks]
    return CaseRow(case=case.case, cells=cells, verdict=_verdict(case))


def _score_cell(score: Score, note: str = "") -> Cell:
    if score.value is None:
        return Cell(text=score.reason, note=note)
    return Cell(text=number_text(score.value), note=note, value=repr(score.value))


def _region_cell(case: CaseScores, region: str) -> Cell:
    if region not in case.segmentation:
        return Cell(text=NOT_MEASURED)
    volumes = case.volumes_ml.get(region)
    note = f"{volumes[0]:.2f} → {volumes[1]:.2f} ml" if volumes else ""
    return _score_cell(case.segmentation[region]["dsc"], note)


def _answer_cell(answer: ClassAnswer | None) -> Cell:
    if answer is None:
        return Cell(text=NOT_MEASURED)
    text = answer_text(answer)
    if answer.kind == "regression":
        error = abs(answer.probabilities[0] - float(answer.reference)) if answer.reference else None
        return Cell(text=text, value="" if error is None else repr(error))
    return Cell(text=text, value=text.lower(), is_wrong=is_wrong(answer))


def _verdict(case: CaseScores) -> str:
    judged = [a for a in case.answers.values() if a.reference and a.kind != "regression"]
    if not judged:
        return ""
    return "wrong" if any(is_wrong(answer) for answer in judged) else "right"
