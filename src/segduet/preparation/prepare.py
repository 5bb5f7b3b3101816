"""Volume + plan -> prepared case; one implementation for training and prediction (F08).

Steps and their order are nnU-Net's: transpose, crop to nonzero, normalise, resample.
Source: Isensee et al., Nature Methods 18, 2021, doi 10.1038/s41592-020-01008-z; nnunetv2 2.8.1.
"""

import numpy as np

from segduet.core.errors import DataError
from segduet.core.finite import is_finite
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.core.prepared import Box, Placement, PreparedCase
from segduet.core.volume import Volume
from segduet.preparation.boxes import box_shape, relative_box
from segduet.preparation.cropping import box_slices, mark_outside, nonzero_box
from segduet.preparation.normalization import POINTWISE_SCHEMES, normalize_channel
from segduet.preparation.resampling import (
    Grids,
    ResamplingRule,
    prepared_shape,
    resample_image,
    resample_label_map,
)

#: nnU-Net readers that keep the axes of the file, as ours do.
_READERS = ("SimpleITKIO", "NibabelIO", "NaturalImage2DIO", "Tiff3DIO")


def prepare_case(
    volume: Volume,
    label_map: np.ndarray | None,
    *,
    case: str,
    plan: Plan,
    configuration: ConfigurationPlan,
    region: Box | None = None,
) -> PreparedCase:
    """What the network sees of a case, with the way back.

    Args:
        volume: the image on the user's grid.
        label_map: (Z, Y, X) integers on the same grid; None where there is no mask.
        case: case id, for messages.
        plan: gives the transpose and the foreground intensities.
        configuration: gives spacing, normalisation and resampling; a 2D one keeps the slices.
        region: where to prepare it: half-open (start, stop) per transposed axis in voxels of the
            image, within its nonzero box. Intensities are those of the whole prepared case, and
            only the rim is resampled otherwise. None: all of the nonzero box.

    Raises:
        DataError: channels or mask do not fit, the plan asks for what we do not implement, or a
            voxel is not finite.
    """
    _check_fit(volume, label_map, case=case, plan=plan, configuration=configuration)
    image = volume.array.transpose(0, *(axis + 1 for axis in plan.transpose_forward))
    box = nonzero_box(image)
    image = image[:, *box_slices(box)]
    marked = _marked_labels(image, label_map, box, plan=plan, configuration=configuration)
    kept = box if region is None else region
    # what no voxel's value depends on is cut away before the work, other regions after it
    is_pointwise = set(configuration.normalization_schemes) <= set(POINTWISE_SCHEMES)
    first_kept = kept if is_pointwise else box
    image, marked = _part(image, marked, whole=box, part=first_kept)
    image = _normalized(image, marked, case=case, plan=plan, configuration=configuration)
    image, marked = _part(image, marked, whole=first_kept, part=kept)

    image_rule, label_rule = (
        ResamplingRule.of(configuration, kind, where=f"plan {plan.plans_name}")
        for kind in ("data", "seg")
    )
    placement = _placement(volume, kept, plan=plan, configuration=configuration)
    grids = Grids.of_preparation(placement, configuration)
    prepared_labels = None
    if label_map is not None and marked is not None:
        prepared_labels = np.ascontiguousarray(resample_label_map(marked, grids, label_rule))
    return PreparedCase(
        case=case,
        image=np.ascontiguousarray(resample_image(image, grids, image_rule)),
        label_map=prepared_labels,
        placement=placement,
    )


def _check_fit(
    volume: Volume,
    label_map: np.ndarray | None,
    *,
    case: str,
    plan: Plan,
    configuration: ConfigurationPlan,
) -> None:
    if plan.image_reader_writer not in _READERS:
        raise DataError(
            f"plan {plan.plans_name}",
            found=f"images read by {plan.image_reader_writer!r}",
            expected=f"one of {list(_READERS)}",
            remedy="Remove overwrite_image_reader_writer from dataset.json and plan again.",
        )
    num_channels = len(configuration.normalization_schemes)
    if len(volume.array) != num_channels:
        raise DataError(
            f"case {case!r}",
            found=f"{len(volume.array)} image channels",
            expected=f"{num_channels}, as plan {plan.plans_name} was made for",
            remedy="Bring all channels of the case, in the order of dataset.json.",
        )
    if label_map is not None and label_map.shape != volume.geometry.shape_zyx:
        raise DataError(
            f"case {case!r}",
            found=f"a mask of shape {label_map.shape}",
            expected=f"the shape of the image, {volume.geometry.shape_zyx}",
            remedy="Run `segduet check` and replace or resample the mask.",
        )


def _marked_labels(
    image: np.ndarray,
    label_map: np.ndarray | None,
    box: Box,
    *,
    plan: Plan,
    configuration: ConfigurationPlan,
) -> np.ndarray | None:
    """Cropped labels with -1 outside; None where neither mask nor normalisation needs them."""
    if label_map is None:
        return mark_outside(image, None) if any(configuration.use_mask_for_norm) else None
    return mark_outside(image, label_map.transpose(plan.transpose_forward)[box_slices(box)])


def _normalized(
    image: np.ndarray,
    marked: np.ndarray | None,
    *,
    case: str,
    plan: Plan,
    configuration: ConfigurationPlan,
) -> np.ndarray:
    schemes = zip(configuration.normalization_schemes, configuration.use_mask_for_norm, strict=True)
    normalized = np.empty(image.shape, np.float32)
    for number, (channel, (scheme, uses_mask)) in enumerate(zip(image, schemes, strict=True)):
        normalize_channel(
            channel,
            scheme=scheme,
            is_inside=marked >= 0 if uses_mask and marked is not None else None,
            intensities=plan.foreground_intensity_properties_per_channel.get(str(number), {}),
            where=f"case {case!r}, channel {number}",
            out=normalized[number],
        )
    if not is_finite(normalized):
        raise DataError(
            f"case {case!r}",
            found="voxels that are not finite numbers after normalisation",
            expected="finite intensities",
            remedy="Run `segduet check` and replace NaN and infinite voxels in the image.",
        )
    return normalized


def _part(
    image: np.ndarray, marked: np.ndarray | None, *, whole: Box, part: Box
) -> tuple[np.ndarray, np.ndarray | None]:
    """A part of the image and its labels, which lie in a box of the volume."""
    inner = box_slices(relative_box(part, whole))
    return image[:, *inner], None if marked is None else marked[inner]


def _placement(
    volume: Volume, box: Box, *, plan: Plan, configuration: ConfigurationPlan
) -> Placement:
    spacing = volume.geometry.spacing_zyx_mm
    first, second, third = (spacing[axis] for axis in plan.transpose_forward)
    return Placement(
        native=volume.geometry,
        transpose_forward=plan.transpose_forward,
        transpose_backward=plan.transpose_backward,
        crop_box=box,
        prepared_shape=prepared_shape(box_shape(box), (first, second, third), configuration),
    )
