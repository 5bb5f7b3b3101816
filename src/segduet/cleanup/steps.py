"""Settings of every step that mends a label map, as cleanup.json holds them."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

Names = Annotated[tuple[str, ...], Field(min_length=1)]
Millimetres = Annotated[FiniteFloat, Field(gt=0)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Removal(_Settings):
    """A step that takes voxels out of regions.

    Attributes:
        may_empty: whether it may leave a region without any voxel in a case where it had some;
            otherwise such a case is left as it was.
    """

    may_empty: bool = False


class KeepLargest(_Removal):
    """Keeps the largest component of the union of the regions; all that draw level are kept.

    Attributes:
        regions: names of labels or regions.
    """

    kind: Literal["keep_largest"] = "keep_largest"
    regions: Names

    @property
    def named(self) -> tuple[str, ...]:
        """The regions it names."""
        return self.regions


class RemoveSmall(_Removal):
    """Removes components of the union of the regions that are smaller than a size.

    Attributes:
        regions: names of labels or regions.
        min_ml: smallest volume that stays, of 3D images.
        min_mm2: smallest area that stays, of 2D images, whose millimetres are pixels.
    """

    kind: Literal["remove_small"] = "remove_small"
    regions: Names
    min_ml: Millimetres | None = None
    min_mm2: Millimetres | None = None

    @model_validator(mode="after")
    def _has_one_size(self) -> Self:
        if (self.min_ml is None) == (self.min_mm2 is None):
            raise ValueError("remove_small has min_ml (3D images) or min_mm2 (2D), one of them")
        return self

    @property
    def named(self) -> tuple[str, ...]:
        """The regions it names."""
        return self.regions


class FillHoles(_Settings):
    """Fills cavities that a region closes in; what touches the image's border is open.

    Attributes:
        region: name of a label or region.
    """

    kind: Literal["fill_holes"] = "fill_holes"
    region: str

    @property
    def named(self) -> tuple[str, ...]:
        """The regions it names."""
        return (self.region,)


class Opening(_Removal):
    """Removes what is too thin for a ball, such as bridges and spikes.

    Attributes:
        region: name of a label or region.
        radius_mm: of the ball; below the distance of the voxels it does nothing.
    """

    kind: Literal["open"] = "open"
    region: str
    radius_mm: Millimetres

    @property
    def named(self) -> tuple[str, ...]:
        """The regions it names."""
        return (self.region,)


class Closing(_Settings):
    """Fills gaps that are too narrow for a ball.

    Attributes:
        region: name of a label or region.
        radius_mm: of the ball; below the distance of the voxels it does nothing.
    """

    kind: Literal["close"] = "close"
    region: str
    radius_mm: Millimetres

    @property
    def named(self) -> tuple[str, ...]:
        """The regions it names."""
        return (self.region,)


class KeepInside(_Removal):
    """Takes a lesion that is not in or at its organ out of both.

    The organ is what is labelled organ and not lesion, with the cavities it closes in.

    Attributes:
        region: name of the lesion's label or region.
        organ: name of the organ's label, or of the region that holds organ and lesion.
        margin_mm: how far from the organ a lesion may lie.
        remove: `components` takes a lesion's component out where none of its voxels lies within the
            margin; `voxels` cuts off every voxel beyond it.
    """

    kind: Literal["keep_inside"] = "keep_inside"
    region: str
    organ: str
    margin_mm: Annotated[FiniteFloat, Field(ge=0)]
    remove: Literal["components", "voxels"] = "components"

    @property
    def named(self) -> tuple[str, ...]:
        """The regions it names."""
        return (self.region, self.organ)


Step = Annotated[
    KeepLargest | RemoveSmall | FillHoles | Opening | Closing | KeepInside,
    Field(discriminator="kind"),
]
