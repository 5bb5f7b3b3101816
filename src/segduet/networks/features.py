"""What an encoder hands on. B batch, C channels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedFeatures:
    """Features of one window for both answers; an encoder with two columns tells them apart.

    Attributes:
        for_masks: (B, C, *spatial) of every stage, highest resolution first; the decoder's skips.
        for_cases: the same for the heads, with as many channels per stage.
    """

    for_masks: tuple[Tensor, ...]
    for_cases: tuple[Tensor, ...]

    @classmethod
    def shared(cls, features: Sequence[Tensor]) -> Self:
        """One list of features that serves both answers."""
        return cls(for_masks=tuple(features), for_cases=tuple(features))
