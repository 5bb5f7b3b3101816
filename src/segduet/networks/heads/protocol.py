"""What every way of pooling offers. B batch, S sums, W pooled numbers."""

from typing import Protocol

from torch import Tensor

from segduet.networks.heads.inputs import HeadInputs


class Pooling(Protocol):
    """From feature maps to one vector, by way of sums that add over disjoint sets of voxels."""

    @property
    def width(self) -> int:
        """Length W of the pooled vector."""

    def sums(self, inputs: HeadInputs) -> Tensor:
        """Weighted sums over the window's voxels, (B, S) float32."""

    def pooled(self, sums: Tensor) -> Tensor:
        """The pooled vector (B, W) float32 of a window, or of a case whose sums were added up."""

    def attention(self, inputs: HeadInputs, case_sums: Tensor) -> Tensor | None:
        """Weight of each voxel of a window in the pooling of its case.

        Args:
            inputs: the window.
            case_sums: (B, S), the sums of all windows of the case.

        Returns:
            (B, 1, *spatial) float32 >= 0 that sums to 1 over the case: the mean over sources and
            queries, each of which sums to 1; None where all voxels weigh the same by design.
        """
