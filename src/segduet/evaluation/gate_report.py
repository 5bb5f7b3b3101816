"""What the accuracy gate says: bounds, figures and verdict, as they stand in a bundle (B14)."""

from pydantic import BaseModel, ConfigDict, Field

from segduet.core.scores import Estimate


class GateBounds(BaseModel):
    """How much may be lost; a figure exactly at its bound passes.

    Attributes:
        max_dsc_loss: largest fall of a region's mean DSC against drawn masks.
        max_macro_f1_loss: largest fall of a task's macro-F1; of a regression, of its R2.
        min_dice: smallest mean Dice, in every region, with the masks of the model it came from.
        min_agreement: of a task nobody knows the truth of, smallest share of cases with the
            same answer; of a regression, smallest R2 against the answers of that model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # DSC and Dice: issue 4, bars of int8; one flip among fifty cases costs about 0.02 of macro-F1
    max_dsc_loss: float = Field(default=0.005, ge=0, le=1)
    max_macro_f1_loss: float = Field(default=0.02, ge=0, le=1)
    min_dice: float = Field(default=0.99, ge=0, le=1)
    min_agreement: float = Field(default=0.98, ge=0, le=1)


class RegionFigures(BaseModel):
    """One region of the masks.

    Attributes:
        reference_dsc: mean DSC of the model it came from against drawn masks; None without any.
        candidate_dsc: the candidate's on the same cases.
        dsc_change: candidate minus reference, paired by case.
        dice: of the candidate's masks with the other model's.
        lowest_dice: of a single case, None where no case has one.
        lowest_case: that case, empty where there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    reference_dsc: float | None
    candidate_dsc: float | None
    dsc_change: Estimate
    dice: Estimate
    lowest_dice: float | None
    lowest_case: str


class TaskFigures(BaseModel):
    """One question about the case.

    Attributes:
        measure: macro_f1, or r2 of a regression.
        reference: of the model it came from, against what is true; None where undefined.
        candidate: the candidate's on the same cases.
        change: candidate minus reference, paired by case.
        agreement: share of all held cases with the same answer; of a regression, R2 of the
            candidate's answers against the other model's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    measure: str
    reference: float | None
    candidate: float | None
    change: Estimate
    agreement: Estimate


class ClassFlip(BaseModel):
    """A case that the two models answer differently; truth is None where unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str
    task: str
    reference: str
    candidate: str
    truth: str | None


class FloatParts(BaseModel):
    """One way to quantise a network, and how it answered cases that the gate does not look at.

    Attributes:
        ends_in_float: convolutions in a row that stay in float at both ends of the network.
        dice: region -> mean Dice of its masks with those of the original; None where both left the
            region empty in all cases. Empty for a network without masks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ends_in_float: int
    dice: dict[str, float | None]

    @property
    def has_dice(self) -> bool:
        """Whether masks were compared, and some region was found."""
        return any(value is not None for value in self.dice.values())

    @property
    def lowest_dice(self) -> float:
        """Dice of the region that agrees least; 1 where there is none."""
        return min((value for value in self.dice.values() if value is not None), default=1.0)


class GateReport(BaseModel):
    """Everything the gate looked at, and its verdict.

    Attributes:
        n: held cases.
        num_with_masks: of them, those with a drawn mask; 0 means that the masks were judged by
            their agreement with the reference model's alone.
        reasons: why the candidate is refused, a sentence each; empty where it passes.
        not_judged: what could not be compared and why, a sentence each.
        float_parts: of a network in 8 bits, how it was quantised.
        tried: the ways of quantising that it was chosen from, on cases of its calibration.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int
    num_with_masks: int
    bounds: GateBounds
    regions: tuple[RegionFigures, ...]
    tasks: tuple[TaskFigures, ...]
    flips: tuple[ClassFlip, ...]
    reasons: tuple[str, ...]
    not_judged: tuple[str, ...]
    passed: bool
    float_parts: FloatParts | None = None
    tried: tuple[FloatParts, ...] = ()
