"""How much each voxel of a window counts where windows overlap."""

import numpy as np

from segduet.windows.tiles import Shape

#: Width of the bell as a share of the patch, and its height (nnU-Net 2.8.1, compute_gaussian).
_SIGMA_SHARE = 1.0 / 8.0
_PEAK = 10.0


def gaussian_weights(patch_zyx: Shape) -> np.ndarray:
    """Weights that trust the middle of a window more than its border.

    A Gaussian around voxel `patch // 2` with sigma = patch / 8 per axis and peak 10. The smallest
    weight is 10 exp(-24), well inside float32, so none is 0. nnU-Net rounds the same weights to
    float16, where corners underflow and are lifted to the smallest number that does not.

    Returns:
        (Z, Y, X) float32, in (0, 10].

    Source: Isensee et al. 2021, nnU-Net, doi:10.1038/s41592-020-01008-z, "Inference".
    """
    bells = [_bell(length) for length in patch_zyx]
    weights = _PEAK * bells[0][:, None, None] * bells[1][:, None] * bells[2]
    return np.asarray(weights, dtype=np.float32)


def _bell(length: int) -> np.ndarray:
    distance_in_sigmas = (np.arange(length) - length // 2) / (length * _SIGMA_SHARE)
    return np.exp(-0.5 * distance_in_sigmas**2)
