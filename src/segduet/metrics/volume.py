"""How big a region is."""

import numpy as np


def volume_ml(mask: np.ndarray, *, voxel_volume_ml: float) -> float:
    """Volume of a mask in millilitres; 0 for an empty mask.

    Args:
        mask: any shape, bool.
        voxel_volume_ml: `Geometry.voxel_volume_ml`, > 0.
    """
    assert mask.dtype == np.bool_, mask.dtype
    return int(np.count_nonzero(mask)) * voxel_volume_ml


def volume_difference_ml(
    reference: np.ndarray, prediction: np.ndarray, *, voxel_volume_ml: float
) -> float:
    """Predicted minus reference volume in millilitres; positive where too much was marked.

    Always defined: 0 when both masks are empty.

    Args:
        reference: any shape, bool.
        prediction: same shape, bool.
        voxel_volume_ml: `Geometry.voxel_volume_ml`, > 0.
    """
    return volume_ml(prediction, voxel_volume_ml=voxel_volume_ml) - volume_ml(
        reference, voxel_volume_ml=voxel_volume_ml
    )
