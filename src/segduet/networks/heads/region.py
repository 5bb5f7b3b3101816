"""Pooling inside a predicted region that may turn out empty. B batch.

Voxels are weighed twice, by the region and evenly, and the two are mixed once the whole case is
known: region + prior / (voxels of the case). Mixed in every window, the prior would weigh more the
more windows there are.
"""

import torch
from torch import Tensor

from segduet.networks.config import HeadConfig
from segduet.networks.heads.inputs import HeadInputs
from segduet.networks.pooling import per_case


class RegionWeighting:
    """Weights by the predicted region, with an even weight to fall back on.

    Args:
        config: `mask_gradient` and `prior_voxels`.
    """

    def __init__(self, config: HeadConfig) -> None:
        self._mask_gradient = config.mask_gradient
        self._prior_voxels = config.prior_voxels

    def both(self, inputs: HeadInputs) -> Tensor:
        """Weights by region and evenly, (B, 2, *spatial) float32."""
        return torch.cat([inputs.weights * self._region(inputs), inputs.weights], 1)

    def mixed(self, sums: Tensor, voxels: Tensor) -> Tensor:
        """One sum from the two.

        Args:
            sums: (B, 2, ...), weighted by region and evenly.
            voxels: (B, 1), voxels of the window or case.

        Returns:
            (B, ...); equal to the even one, scaled, where nothing is predicted.
        """
        return sums[:, 0] + self._prior_voxels / per_case(voxels, sums[:, 0]) * sums[:, 1]

    def density(self, inputs: HeadInputs, voxels: Tensor) -> Tensor:
        """Weight of each voxel in the mixture, (B, 1, *spatial) float32 >= 0.

        Args:
            inputs: the window.
            voxels: (B, 1), voxels of the case.
        """
        region = self._region(inputs)
        return inputs.weights * (region + self._prior_voxels / per_case(voxels, region))

    def _region(self, inputs: HeadInputs) -> Tensor:
        assert inputs.region is not None, "built without a decoder"
        return inputs.region if self._mask_gradient else inputs.region.detach()
