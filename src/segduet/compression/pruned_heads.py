"""Heads for fewer channels: which of a head's weights belong to the channels that are left."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segduet.core.errors import RequestError
from segduet.networks.heads.inputs import Sources

#: Layers of a pooling that read one source each, by the source's number.
_BY_SOURCE = ("gates", "logits", "values")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptChannels:
    """Channels that are left of the feature maps, ascending.

    Attributes:
        stages: of every encoder stage.
        decoder: of the decoder's last feature map; None without a decoder.
    """

    stages: tuple[Tensor, ...]
    decoder: Tensor | None


def fill_narrow_head(narrow: nn.Module, wide: nn.Module, kept: KeptChannels) -> None:
    """Fills a head for fewer channels with the weights of those that are left.

    Args:
        narrow: with the options of the other; its weights are replaced.
        wide: trained; left as it is.
        kept: which channels are left.

    Raises:
        RequestError: a gate that mixes all channels has another size in a narrower head.
    """
    by_source = _kept_by_source(wide, kept)
    pooled = _kept_in_pooled(wide, by_source)
    weights = {}
    wanted = narrow.state_dict()
    for name, tensor in wide.state_dict().items():
        for axis, length in enumerate(wanted[name].shape):
            if tensor.shape[axis] != length:
                index = by_source[int(name.split(".")[2])] if _reads_a_source(name) else pooled
                if len(index) != length:
                    raise _mixes_channels(name)
                tensor = tensor.index_select(axis, index)  # noqa: PLW2901
        weights[name] = tensor
    narrow.load_state_dict(weights)


def _kept_by_source(head: nn.Module, kept: KeptChannels) -> list[Tensor]:
    """Channels that are left of every map the head reads."""
    sources = getattr(head.pooling, "sources", None)
    if sources is None:  # the bottleneck
        return [kept.stages[-1]]
    assert isinstance(sources, Sources)
    found = [kept.stages[stage] for stage in sources.stages]
    if sources.decoder_features:
        assert kept.decoder is not None
        found.append(kept.decoder)
    return found


def _kept_in_pooled(head: nn.Module, by_source: list[Tensor]) -> Tensor:
    """Entries that are left of the pooled vector: the moments of a source, source by source."""
    widths = _widths(head)
    num_moments = int(head.pooling.width) // sum(widths)  # type: ignore[union-attr, arg-type]
    index, start = [], 0
    for width, kept in zip(widths, by_source, strict=True):
        for _ in range(num_moments):
            index.append(start + kept)
            start += width
    return torch.cat(index) if index else torch.empty(0, dtype=torch.int64)


def _widths(head: nn.Module) -> tuple[int, ...]:
    sources = getattr(head.pooling, "sources", None)
    return (int(head.pooling.width),) if sources is None else sources.widths  # type: ignore[union-attr, arg-type]


def _reads_a_source(name: str) -> bool:
    parts = name.split(".")
    return parts[0] == "pooling" and parts[1] in _BY_SOURCE


def _mixes_channels(name: str) -> RequestError:
    return RequestError(
        f"pruning, {name}",
        found="a gate over all channels, which a narrower head has in another size",
        expected="heads without channel_attention",
        remedy="Train a narrow network with this head by distillation instead.",
    )
