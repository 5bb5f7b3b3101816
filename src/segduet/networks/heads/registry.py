"""Which kinds of head there are."""

from collections.abc import Callable

from torch import nn

from segduet.networks.config import HeadConfig, HeadKind
from segduet.networks.heads.attention import AttentionPooling
from segduet.networks.heads.bottleneck import BottleneckPooling
from segduet.networks.heads.gem import GeneralisedMeanPooling
from segduet.networks.heads.inputs import FeatureWidths
from segduet.networks.heads.mask_pooled import MaskPooling

HEADS: dict[HeadKind, Callable[[HeadConfig, FeatureWidths], nn.Module]] = {
    "bottleneck": BottleneckPooling,
    "gem": GeneralisedMeanPooling,
    "mask_pooled": MaskPooling,
    "attention": AttentionPooling,
}
