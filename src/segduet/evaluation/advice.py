"""One piece of advice on metrics, and the papers that advice rests on."""

from dataclasses import dataclass
from typing import Any, Literal

#: Look at it; look at it knowing this; it says nothing here.
Verdict = Literal["look", "careful", "uninformative"]

#: A verdict, the metrics it is about, and what a property of the data means for them.
Said = tuple[Verdict, tuple[str, ...], str]

#: What a piece of advice is about where it concerns every region of the masks.
EVERY_REGION = "every region"
#: ... and where it concerns every figure there is.
EVERY_FIGURE = "every figure"

#: doi:10.1038/s41592-023-02150-0
PITFALLS = "Reinke et al. 2024"
#: doi:10.1038/s41592-023-02151-z
RECOMMENDATIONS = "Maier-Hein et al. 2024"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What a property of the data means for some metrics.

    Attributes:
        subject: the region or task it is about, `EVERY_REGION` or `EVERY_FIGURE`.
        problem: the property, in snake case.
        verdict: what to do with the metrics.
        metrics: declared names; empty of `EVERY_FIGURE`.
        why: one sentence with what was measured.
        measured: the number that decided.
        source: where the rule comes from, and the property's name there; `docs/guide/metrics.md`
            has the papers.
    """

    subject: str
    problem: str
    verdict: Verdict
    metrics: tuple[str, ...]
    why: str
    measured: float
    source: str

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "subject": self.subject,
            "problem": self.problem,
            "verdict": self.verdict,
            "metrics": list(self.metrics),
            "why": self.why,
            "measured": self.measured,
            "source": self.source,
        }


def pieces_of_advice(
    subject: str,
    problem: str,
    found: str,
    *says: Said,
    measured: float,
    source: str,
) -> list[Advice]:
    """What one property means for several metrics.

    Args:
        subject: see `Advice`.
        problem: see `Advice`.
        found: the property in words, with its number.
        says: one entry per verdict and meaning.
        measured: see `Advice`.
        source: see `Advice`.
    """
    return [
        Advice(
            subject=subject,
            problem=problem,
            verdict=verdict,
            metrics=metrics,
            why=f"{found}: {meaning}",
            measured=measured,
            source=source,
        )
        for verdict, metrics, meaning in says
    ]
