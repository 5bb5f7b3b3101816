"""Structured pruning (F69): the strongest channels of a planned U-Net, as a narrower planned U-Net.

The narrower network is one that the plan describes too (`network.width_factor`), so it is stored,
trained on, converted and run as any other. Which layers must lose the same channels is found by
torch-pruning.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from segduet.compression.channel_strength import channel_strength
from segduet.compression.pruned_heads import KeptChannels, fill_narrow_head
from segduet.networks.decoding import decode
from segduet.networks.joint import JointNetwork

_CONVOLUTIONS = {2: (nn.Conv2d, nn.ConvTranspose2d), 3: (nn.Conv3d, nn.ConvTranspose3d)}
_NORMALISATIONS = (nn.InstanceNorm2d, nn.InstanceNorm3d, nn.BatchNorm2d, nn.BatchNorm3d)


def fill_narrow(
    narrow: JointNetwork, wide: JointNetwork, *, num_channels: int, patch_size: Sequence[int]
) -> None:
    """Fills a narrow network with the strongest channels of a wide one.

    Layers that share channels keep the strongest, see `channel_strength`.

    Args:
        narrow: a planned network with the options of the other but for its width; its weights are
            replaced.
        wide: trained, in evaluation mode; left as it is.
        num_channels: image channels.
        patch_size: (z, y, x) or (y, x); a window of this size shows how the layers hang together.

    Raises:
        RequestError: a head whose layers do not follow the channels one by one.

    Source: Fang et al. 2023, arXiv 2301.12900 (groups of layers).
    """
    probed = _Probed(wide, num_spatial_dims=len(patch_size))
    kept = probed.pruned_like(narrow, torch.zeros(1, num_channels, *patch_size))
    narrow.encoder.load_state_dict(probed.encoder.state_dict())
    if narrow.decoder is not None and probed.decoder is not None:
        narrow.decoder.load_state_dict(probed.decoder.state_dict())
    for task, head in narrow.heads.items():
        fill_narrow_head(head, wide.heads[task], kept)


class _Probed(nn.Module):
    """Copy of a network without heads; a probe on every feature map shows what is left of it."""

    def __init__(self, network: JointNetwork, *, num_spatial_dims: int) -> None:
        super().__init__()
        copied = copy.deepcopy(network)
        copied.deep_supervision = True  # so that the lower resolutions' layers are seen
        self.encoder, self.decoder = copied.encoder, copied.decoder
        self._kinds = _CONVOLUTIONS[num_spatial_dims]
        widths = [int(width) for width in self.encoder.output_channels]  # type: ignore[union-attr]
        probe: Any = self._kinds[0]
        self.probes = nn.ModuleList(
            probe(width, 1, 1) for width in [*widths, *([widths[0]] if self.decoder else [])]
        )
        for module in self.modules():
            if isinstance(module, _NORMALISATIONS):
                module.register_forward_hook(_detached_from_sums)
        for parameter in self.probes.parameters():
            nn.init.zeros_(parameter)  # a probe is no reader

    def forward(self, image: Tensor) -> list[Tensor]:
        """Everything the layers lead to."""
        features = list(self.encoder(image))
        logits: tuple[Tensor, ...] = ()
        if self.decoder is not None:
            logits, decoded = decode(self.decoder, features)
            features.append(decoded)
        return [*logits, *(p(f) for p, f in zip(self.probes, features, strict=True))]

    def pruned_like(self, narrow: JointNetwork, image: Tensor) -> KeptChannels:
        """Takes the weakest channels out until all layers are as wide as the narrow network's."""
        graph = torch_pruning.DependencyGraph()
        graph.build_dependency(self, example_inputs=(image,))
        kept = [torch.arange(probe.in_channels) for probe in self._probe_list]
        for group in graph.get_all_groups(self._answering(), self._kinds):
            layer, handler = group[0].dep.target, group[0].dep.handler
            same: Any = narrow.get_submodule(layer._name)
            wanted = same.out_channels
            strength = channel_strength(group, writes=graph.is_out_channel_pruning_fn)
            weakest = torch.argsort(strength, stable=True)[: len(strength) - wanted].tolist()
            removal = graph.get_pruning_group(layer.module, handler, weakest)
            for number, probe in enumerate(self._probe_list):
                kept[number] = _without(kept[number], _removed_from(probe, removal))
            removal.prune()
        if self.decoder is None:
            return KeptChannels(stages=tuple(kept), decoder=None)
        return KeptChannels(stages=tuple(kept[:-1]), decoder=kept[-1])

    @property
    def _probe_list(self) -> list[Any]:
        return list(self.probes)

    def _answering(self) -> list[nn.Module]:
        """Layers whose outputs are answers, which all stay."""
        decoder: Any = self.decoder
        return [*self.probes, *([] if decoder is None else decoder.seg_layers)]


def _detached_from_sums(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """A residual block adds into what its last normalisation returns, which would hide it."""
    del module, inputs
    return output.clone()


def _removed_from(probe: nn.Module, removal: Any) -> list[int]:
    """Channels of the map before a probe that go with a removal."""
    return [i for dependency, indices in removal for i in indices if _is_of(dependency, probe)]


def _is_of(dependency: Any, module: nn.Module) -> bool:
    return dependency.target.module is module


def _without(kept: Tensor, indices: Sequence[int]) -> Tensor:
    return kept[~torch.isin(kept, torch.as_tensor(indices, dtype=kept.dtype))]
