"""Which case comes first in a report, and which cases are shown with pictures or volumes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from segduet.core.errors import RequestError
from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores
from segduet.evaluation.cohort import mean_foreground_dsc
from segduet.reporting.answer_wording import is_wrong

_ALL, _NONE, _WORST = "all", "none", "worst:"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseChoice:
    """The worst cases of a report.

    Attributes:
        limit: how many at most; None for all.
    """

    limit: int | None

    @classmethod
    def parse(cls, text: str, *, where: str) -> Self:
        """Reads `all`, `none` or `worst:N`.

        Raises:
            RequestError: anything else.
        """
        if text in (_ALL, _NONE):
            return cls(limit=None if text == _ALL else 0)
        number = text.removeprefix(_WORST)
        if text.startswith(_WORST) and number.isascii() and number.isdigit():
            return cls(limit=int(number))
        raise RequestError(
            where,
            found=repr(text),
            expected="all, none or worst:N with a whole number N",
            remedy="Say for example worst:10.",
        )

    def of(self, cases: Sequence[str]) -> set[str]:
        """The chosen ones of cases that are given worst first."""
        return set(cases[: self.limit])


def worst_first(cases: Sequence[CaseScores], labels: LabelScheme) -> list[CaseScores]:
    """By mean foreground DSC; cases without one last, of those the surest wrong answers first."""
    return sorted(cases, key=lambda case: _badness(case, labels))


def _badness(case: CaseScores, labels: LabelScheme) -> tuple[bool, float, float, str]:
    mean = mean_foreground_dsc(case, labels).value
    wrong = [max(a.probabilities) for a in case.answers.values() if is_wrong(a)]
    return (mean is None, mean or 0.0, -max(wrong, default=0.0), case.case)
