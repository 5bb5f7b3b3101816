"""The block QuickNAT is made of (F21). B batch, C channels."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from segduet.networks.backbone_config import DenseConfig, Normalisation
from segduet.networks.squeeze_excite import build_squeeze_excite


def _norm(kind: Normalisation, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.InstanceNorm2d(channels, affine=True)


class DenseBlock(nn.Module):
    """Three times norm, rectifier, convolution; each sees the input and all results before it.

    The last convolution is 1 x 1 and brings the stack back to `num_filters`. All three steps share
    one rectifier, whose slope is one learnt number, as in the authors' code.

    Source: Roy et al. 2019, arXiv 1801.04161; github.com/ai-med/nn-common-modules.
    """

    def __init__(self, num_channels: int, config: DenseConfig) -> None:
        """Builds the block for maps of `num_channels` channels."""
        super().__init__()
        filters, kernel = config.num_filters, config.kernel_size
        widths = [num_channels + step * filters for step in range(3)]
        self.norms = nn.ModuleList(_norm(config.normalisation, width) for width in widths)
        self.convs = nn.ModuleList(
            nn.Conv2d(width, filters, size, padding=size // 2)
            for width, size in zip(widths, (kernel, kernel, 1), strict=True)
        )
        self.rectifier = nn.PReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, num_filters, Y, X) of the same size.

        In training a map of a single pixel has no statistics: batch normalisation refuses it for
        batches of one, instance normalisation always.
        """
        stack = [features]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            stack.append(conv(self.rectifier(norm(torch.cat(stack, 1)))))
        return stack[-1]


def dense_stage(num_channels: int, config: DenseConfig) -> nn.Sequential:
    """A dense block, then squeeze and excitation, then dropout of whole feature maps."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            dense=DenseBlock(num_channels, config),
            excite=build_squeeze_excite(config.squeeze_excite, config.num_filters),
            dropout=nn.Dropout2d(config.dropout),
        )
    )
