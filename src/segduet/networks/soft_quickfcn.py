"""Two QuickNAT encoders that share through cross-stitch units (F25). B batch, C channels."""

from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from segduet.networks.backbone_config import SoftQuickFCNConfig
from segduet.networks.cross_stitch import CrossStitch
from segduet.networks.features import EncodedFeatures
from segduet.networks.quicknat import QuickNATEncoder


class SoftQuickFCNEncoder(nn.Module):
    """A column for masks and one for cases, stitched after every pooling and the bottleneck.

    Skips are taken before the stitches, so unpooling leads back to the mask column's own maxima.

    Source: Misra et al. 2016, arXiv 1604.03539; places of the units from the fourth seed.

    Attributes:
        output_channels: features of every stage of a column, highest resolution first.
    """

    def __init__(self, num_channels: int, config: SoftQuickFCNConfig) -> None:
        """Builds both columns for images of `num_channels` channels."""
        super().__init__()
        self.for_masks = QuickNATEncoder(num_channels, config)
        self.for_cases = QuickNATEncoder(num_channels, config)
        self.output_channels = self.for_masks.output_channels
        self.stitches = nn.ModuleList(
            CrossStitch(config.num_filters, config.stitch_init) for _ in range(config.levels)
        )
        self.bottleneck_stitch = CrossStitch(config.num_filters, config.stitch_init)

    def forward(self, image: Tensor) -> EncodedFeatures:
        """Features of both columns, highest resolution first, the bottleneck's last.

        Args:
            image: (B, C, Y, X) float, any size that leaves two pixels in the bottleneck.
        """
        masks, cases = image, image
        mask_skips: list[Tensor] = []
        case_skips: list[Tensor] = []
        levels = zip(self.for_masks.stages, self.for_cases.stages, self.stitches, strict=True)
        for mask_stage, case_stage, stitch in levels:
            mask_skips.append(mask_stage(masks))
            case_skips.append(case_stage(cases))
            masks, cases = stitch(max_pool2d(mask_skips[-1], 2), max_pool2d(case_skips[-1], 2))
        masks, cases = self.bottleneck_stitch(
            self.for_masks.bottleneck(masks), self.for_cases.bottleneck(cases)
        )
        return EncodedFeatures(for_masks=(*mask_skips, masks), for_cases=(*case_skips, cases))
