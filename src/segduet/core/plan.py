"""nnU-Net's plans JSON, read into typed records; unknown keys are nnU-Net's business and kept."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from segduet.core.description import validated
from segduet.core.errors import RequestError
from segduet.core.files import read_json
from segduet.core.tasks import TaskSpec


class ArchitecturePlan(BaseModel):
    """Network class, by dotted name, and its arguments.

    Attributes:
        network_class_name: dotted name; resolved only through the allow-list in `networks`.
        arch_kwargs: constructor arguments; those named in `kw_requires_import` are dotted names.
        kw_requires_import: which of the arguments are dotted names of torch classes.
    """

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    network_class_name: str
    arch_kwargs: dict[str, Any]
    kw_requires_import: tuple[str, ...] = Field(default=(), alias="_kw_requires_import")


class ConfigurationPlan(BaseModel):
    """One configuration (2d, 3d_fullres, ...) with inheritance resolved.

    Axes are those after `transpose_forward`: (z, y, x) for 3D, (y, x) for 2D.

    Attributes:
        previous_stage: configuration whose label maps are fed to this one's network (a cascade).
        next_stage: configuration, or several, that this one's label maps are fed to.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    data_identifier: str
    batch_size: int = Field(gt=0)
    patch_size: tuple[int, ...] = Field(min_length=2, max_length=3)
    spacing: tuple[float, ...] = Field(min_length=2, max_length=3)
    median_image_size_in_voxels: tuple[float, ...]
    normalization_schemes: tuple[str, ...]
    use_mask_for_norm: tuple[bool, ...]
    resampling_fn_data: str = "resample_data_or_seg_to_shape"
    resampling_fn_data_kwargs: dict[str, Any] = Field(default_factory=dict)
    resampling_fn_seg: str = "resample_data_or_seg_to_shape"
    resampling_fn_seg_kwargs: dict[str, Any] = Field(default_factory=dict)
    resampling_fn_probabilities: str = "resample_data_or_seg_to_shape"
    resampling_fn_probabilities_kwargs: dict[str, Any] = Field(default_factory=dict)
    architecture: ArchitecturePlan
    batch_dice: bool
    previous_stage: str | None = None
    next_stage: str | tuple[str, ...] | None = None

    @property
    def next_stages(self) -> tuple[str, ...]:
        """The configurations that are fed with this one's label maps."""
        return (self.next_stage,) if isinstance(self.next_stage, str) else self.next_stage or ()

    @property
    def num_spatial_dims(self) -> int:
        """2 or 3, as the network's convolutions."""
        return len(self.patch_size)

    @property
    def patch_size_zyx(self) -> tuple[int, int, int]:
        """Patch with three axes; a 2D patch has Z = 1."""
        z, y, x = (1, *self.patch_size)[-3:]
        return (z, y, x)


class PlanSection(BaseModel):
    """What segduet adds to a plans JSON under the key `segduet`; nnU-Net carries it along.

    nnU-Net builds networks from the plan alone, so heads and regions must be found in it (B11).

    Attributes:
        tasks: the case-level tasks.
        labels: the labels of dataset.json; empty in a plan that stock nnU-Net made.
        regions_class_order: of dataset.json.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: tuple[TaskSpec, ...] = ()
    labels: dict[str, int | list[int]] = Field(default_factory=dict)
    regions_class_order: list[int] | None = None


class Plan(BaseModel):
    """A plans JSON.

    Attributes:
        transpose_forward: image axis (of z, y, x) that becomes axis i of the prepared array.
        foreground_intensity_properties_per_channel: channel -> mean, std, percentiles, ...
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    dataset_name: str
    plans_name: str
    transpose_forward: tuple[int, int, int] = (0, 1, 2)
    transpose_backward: tuple[int, int, int] = (0, 1, 2)
    image_reader_writer: str = "SimpleITKIO"
    foreground_intensity_properties_per_channel: dict[str, dict[str, float]] = Field(
        default_factory=dict
    )
    configurations: dict[str, dict[str, Any]]
    segduet: PlanSection = PlanSection()

    @classmethod
    def read(cls, source: Path) -> Self:
        """Reads and checks a plans JSON.

        Raises:
            DataError: missing, not JSON, or an entry is missing or of the wrong kind.
        """
        return validated(cls, read_json(source), where=str(source))

    def configuration(self, name: str) -> ConfigurationPlan:
        """The configuration of this name, with everything it inherits.

        Raises:
            RequestError: the plan has no such configuration.
            DataError: an entry is missing or of the wrong kind.
        """
        return validated(
            ConfigurationPlan, self._resolved(name, ()), where=f"plan {self.plans_name}, {name}"
        )

    def _resolved(self, name: str, seen: tuple[str, ...]) -> dict[str, Any]:
        if name not in self.configurations or name in seen:
            raise RequestError(
                f"plan {self.plans_name}",
                found=f"no usable configuration {name!r}",
                expected=f"one of {sorted(self.configurations)}",
                remedy="Choose one of them with -c, or plan again.",
            )
        own = self.configurations[name]
        parent = own.get("inherits_from")
        inherited = self._resolved(parent, (*seen, name)) if parent else {}
        return {**inherited, **{k: v for k, v in own.items() if k != "inherits_from"}}

    def to_json(self) -> dict[str, Any]:
        """The plan as nnU-Net writes it."""
        return self.model_dump(mode="json", by_alias=True)
