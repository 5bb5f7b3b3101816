"""Our placement of a case as nnU-Net's properties dictionary, and the way back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from segduet.core.errors import DataError
from segduet.core.geometry import IDENTITY_DIRECTION, Geometry
from segduet.core.plan import Plan
from segduet.core.prepared import Box, Placement

Shape = tuple[int, int, int]


def stock_properties(
    placement: Placement, class_locations: Mapping[Any, np.ndarray]
) -> dict[str, Any]:
    """What nnU-Net keeps of a case beside its arrays.

    Args:
        placement: how the prepared array came from the native one.
        class_locations: label, or tuple of labels -> (N, 4) int64 positions, channel first.
    """
    native = placement.native
    dims = native.num_spatial_dims
    direction = np.reshape(native.direction_xyz, (3, 3))
    return {
        "sitk_stuff": {
            "spacing": tuple(native.spacing_zyx_mm[::-1][:dims]),
            "origin": tuple(native.origin_xyz_mm[:dims]),
            "direction": tuple(direction[:dims, :dims].ravel().tolist()),
        },
        "nibabel_stuff": {"original_affine": _ras_affine(native)},
        "spacing": list(native.spacing_zyx_mm),
        "shape_before_cropping": placement.transposed_shape,
        "bbox_used_for_cropping": [list(extent) for extent in placement.crop_box],
        "shape_after_cropping_and_before_resampling": placement.cropped_shape,
        "class_locations": dict(class_locations),
    }


def _ras_affine(native: Geometry) -> np.ndarray:
    """Voxel (x, y, z) -> RAS millimetres; ITK's axes are LPS."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(native.direction_xyz, (3, 3)) * native.spacing_zyx_mm[::-1]
    affine[:3, 3] = native.origin_xyz_mm
    affine[:2] *= -1
    return affine


def placement_from(
    properties: Mapping[str, Any], prepared_shape: Shape, plan: Plan, *, where: Path
) -> Placement:
    """Placement of a case that stock nnU-Net prepared.

    The origin and direction of formats other than ITK's are unknown to us and taken as 0 and
    identity; nothing that is trained depends on them.

    Raises:
        DataError: an entry is missing or of the wrong kind.
    """
    try:
        transposed = [int(n) for n in properties["shape_before_cropping"]]
        z, y, x = (transposed[axis] for axis in plan.transpose_backward)
        return Placement(
            native=_native(properties, (z, y, x)),
            transpose_forward=plan.transpose_forward,
            transpose_backward=plan.transpose_backward,
            crop_box=cast(
                Box, tuple((int(a), int(b)) for a, b in properties["bbox_used_for_cropping"])
            ),
            prepared_shape=prepared_shape,
        )
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise DataError(
            str(where),
            found=f"properties that cannot be used ({type(error).__name__}: {error})",
            expected="shape_before_cropping, bbox_used_for_cropping and spacing of nnU-Net 2.x",
            remedy="Preprocess the dataset again.",
        ) from error


def _native(properties: Mapping[str, Any], shape_zyx: Shape) -> Geometry:
    z_mm, y_mm, x_mm = (float(s) for s in properties["spacing"])
    itk = properties.get("sitk_stuff", {})
    origin = (*(float(v) for v in itk.get("origin", ())), 0.0, 0.0, 0.0)[:3]
    given = itk.get("direction", IDENTITY_DIRECTION)
    dims = 3 if len(given) == 9 else 2
    direction = np.eye(3)
    direction[:dims, :dims] = np.reshape(given, (dims, dims))
    is_picture = not itk and shape_zyx[0] == 1
    return Geometry(
        shape_zyx=shape_zyx,
        spacing_zyx_mm=(z_mm, y_mm, x_mm),
        origin_xyz_mm=(origin[0], origin[1], origin[2]),
        direction_xyz=tuple(direction.ravel().tolist()),
        num_spatial_dims=2 if is_picture else dims,
    )
