"""From a backbone's configuration and a plan to its modules."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from torch import nn

from segduet.core.errors import RequestError
from segduet.core.plan import ConfigurationPlan
from segduet.networks.backbone_config import (
    BackboneConfig,
    PlannedConfig,
    QuickNATConfig,
    ResNet18Config,
    SoftQuickFCNConfig,
    StandaloneUNetConfig,
)
from segduet.networks.planned_size import resized
from segduet.networks.quicknat import QuickNATDecoder, QuickNATEncoder
from segduet.networks.registry import build_unet
from segduet.networks.resnet import ResNet18Encoder
from segduet.networks.soft_quickfcn import SoftQuickFCNEncoder
from segduet.networks.standalone_unet import StandaloneDecoder, StandaloneEncoder

_RESNET_HALVINGS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """The parts of a network that carry the heads.

    Attributes:
        encoder: image (B, C, *spatial) to features, highest resolution first, as a list or as
            `EncodedFeatures`; its `output_channels` are the widths.
        decoder: features to segmentation logits, by `decoding.decode`; None where the network
            only classifies.
        num_spatial_dims: 2 or 3.
    """

    encoder: nn.Module
    decoder: nn.Module | None
    num_spatial_dims: int


def build_backbone(
    config: BackboneConfig,
    *,
    configuration: ConfigurationPlan,
    num_channels: int,
    num_outputs: int,
    deep_supervision: bool,
) -> Backbone:
    """The encoder and decoder of the chosen kind; weights come from torch's global generator.

    Args:
        config: kind and options.
        configuration: of the plan; its patch must suit the network, its architecture is used by
            the kind `planned`.
        num_channels: image channels.
        num_outputs: segmentation channels; classifiers have none.
        deep_supervision: whether a planned decoder also returns its lower resolutions; the other
            decoders have one resolution.

    Raises:
        DataError: the plan names a class or an argument that is not allowed.
        RequestError: a 2D network for a 3D configuration or the reverse, or a patch that does not
            suit the network's strides.
    """
    if isinstance(config, PlannedConfig):
        return _planned(config, configuration, num_channels, num_outputs, deep_supervision)
    dims = _suitable_dims(config, configuration)
    encoder, decoder = _parts(config, num_channels, num_outputs)
    return Backbone(encoder=encoder, decoder=decoder, num_spatial_dims=dims)


def _planned(
    config: PlannedConfig,
    configuration: ConfigurationPlan,
    num_channels: int,
    num_outputs: int,
    deep_supervision: bool,
) -> Backbone:
    unet: Any = build_unet(
        resized(configuration.architecture, config),
        num_channels=num_channels,
        num_outputs=num_outputs,
        deep_supervision=deep_supervision,
    )
    dims = configuration.num_spatial_dims
    strides = [1] * dims
    for stage in unet.encoder.strides:
        strides = [total * step for total, step in zip(strides, stage, strict=True)]
    _require_divisible(config.kind, configuration.patch_size, strides)
    return Backbone(encoder=unet.encoder, decoder=unet.decoder, num_spatial_dims=dims)


_Fixed = StandaloneUNetConfig | QuickNATConfig | SoftQuickFCNConfig | ResNet18Config


def _parts(
    config: _Fixed, num_channels: int, num_outputs: int
) -> tuple[nn.Module, nn.Module | None]:
    match config:
        case StandaloneUNetConfig():
            tall = StandaloneEncoder(
                num_channels, base_filters=config.base_filters, levels=config.levels
            )
            return tall, StandaloneDecoder(tall.output_channels, num_outputs)
        case QuickNATConfig():
            return QuickNATEncoder(num_channels, config), QuickNATDecoder(config, num_outputs)
        case SoftQuickFCNConfig():
            return SoftQuickFCNEncoder(num_channels, config), QuickNATDecoder(config, num_outputs)
        case ResNet18Config():
            return ResNet18Encoder(num_channels), None
        case never:
            assert_never(never)


def _suitable_dims(config: _Fixed, configuration: ConfigurationPlan) -> int:
    patch, dims = configuration.patch_size, config.num_spatial_dims
    if len(patch) != dims:
        raise RequestError(
            f"backbone {config.kind}",
            found=f"a {len(patch)}D configuration (patch {list(patch)})",
            expected=f"a {dims}D configuration, as the network is {dims}D",
            remedy="Train another configuration (-c), or choose another backbone.",
        )
    match config:
        case StandaloneUNetConfig():
            strides = [2**config.levels] * dims
            _require_divisible(config.kind, patch, strides)
            deepest = [axis // step for axis, step in zip(patch, strides, strict=True)]
        case ResNet18Config():
            deepest = [-(-axis // 2**_RESNET_HALVINGS) for axis in patch]  # rounds up
        case _:
            deepest = [axis // 2**config.levels for axis in patch]
    _require_room(config.kind, patch, deepest)
    return dims


def _require_divisible(kind: str, patch: Sequence[int], strides: Sequence[int]) -> None:
    if any(axis % step for axis, step in zip(patch, strides, strict=True)):
        raise RequestError(
            f"backbone {kind}",
            found=f"patch {list(patch)}",
            expected=f"axes that are multiples of the network's strides {list(strides)}",
            remedy="Plan again with such a patch, or choose a backbone with fewer levels.",
        )


def _require_room(kind: str, patch: Sequence[int], deepest: Iterable[int]) -> None:
    """Normalisation needs two values per channel, even in a batch of one."""
    sizes = list(deepest)
    if min(sizes) < 1 or max(sizes) < 2:
        raise RequestError(
            f"backbone {kind}",
            found=f"patch {list(patch)}, of which its poolings leave {sizes}",
            expected="at least two positions in the deepest features",
            remedy="Plan again with a larger patch, or choose a backbone with fewer levels.",
        )
