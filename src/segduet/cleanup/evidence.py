"""Why a cleanup plan has the steps it has: every step that was tried, with its figures."""

from pydantic import BaseModel, ConfigDict

from segduet.cleanup.steps import Step
from segduet.core.scores import Estimate


class Trial(BaseModel):
    """One step tried on top of those kept before.

    Attributes:
        step: what was tried.
        kept_before: steps that were kept by then.
        num_changed: cases in which it changed anything.
        difference: mean DSC with it minus without it, of the region it acts on (of several: mean
            over them), with its interval over patients.
        by_region: region -> mean difference of its DSC.
        kept: whether it was kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: Step
    kept_before: int
    num_changed: int
    difference: Estimate
    by_region: dict[str, float]
    kept: bool = False

    @property
    def helps(self) -> bool:
        """Whether its interval lies above 0 and the mean DSC of no region falls."""
        interval = self.difference.ci95
        return interval is not None and interval[0] > 0 and min(self.by_region.values()) >= 0


class Evidence(BaseModel):
    """How a plan was learned.

    Attributes:
        dataset: full name.
        sources: folders of the out-of-fold label maps.
        num_cases: cases compared.
        rule: what a step must show to be kept.
        num_tried: steps tried in all rounds; intervals are not widened for their number.
        trials: all of them, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    sources: tuple[str, ...]
    num_cases: int
    rule: str
    num_tried: int
    trials: tuple[Trial, ...]
