import math

import pytest
import torch

from segduet.networks.squeeze_excite import (
    ChannelExcitation,
    ChannelSpatialExcitation,
    SpatialExcitation,
    build_squeeze_excite,
)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("none", 0), ("channel", 4192), ("spatial", 65), ("channel_spatial", 4257)],
)
def test_parameter_counts(kind, expected):
    """F22: 64 * 32 + 32 + 32 * 64 + 64 for the channels, 64 + 1 for the pixels."""
    module = build_squeeze_excite(kind, 64)
    assert sum(p.numel() for p in module.parameters()) == expected


def channel_excitation() -> ChannelExcitation:
    """Squeezes two channels to (mean 0 - mean 1), excites by +1 and -2 times that."""
    module = ChannelExcitation(2)
    module.load_state_dict(
        {
            "squeeze.weight": torch.tensor([[1.0, -1.0]]),
            "squeeze.bias": torch.zeros(1),
            "excite.weight": torch.tensor([[1.0], [-2.0]]),
            "excite.bias": torch.zeros(2),
        }
    )
    return module


def spatial_excitation() -> SpatialExcitation:
    """Gates every pixel by the difference of its two channels."""
    module = SpatialExcitation(2)
    module.load_state_dict(
        {"gate.weight": torch.tensor([1.0, -1.0]).view(1, 2, 1, 1), "gate.bias": torch.zeros(1)}
    )
    return module


FEATURES = torch.tensor([[[[4.0, 2.0]], [[1.0, 3.0]]]])  # means 3 and 2


def test_channels_are_rescaled_as_a_whole():
    """F22: hidden 3 - 2 = 1, gates s(1) and s(-2)."""
    expected = FEATURES * torch.tensor([sigmoid(1), sigmoid(-2)]).view(1, 2, 1, 1)
    torch.testing.assert_close(channel_excitation()(FEATURES), expected)


def test_pixels_are_rescaled_by_their_own_channels():
    """F22: gates s(4 - 1) and s(2 - 3), the same for both channels."""
    expected = FEATURES * torch.tensor([sigmoid(3), sigmoid(-1)]).view(1, 1, 1, 2)
    torch.testing.assert_close(spatial_excitation()(FEATURES), expected)


def test_both_give_the_larger_of_the_two_element_by_element():
    """F22."""
    both = ChannelSpatialExcitation(2)
    both.channel, both.spatial = channel_excitation(), spatial_excitation()
    by_hand = [
        [4 * max(sigmoid(1), sigmoid(3)), 2 * max(sigmoid(1), sigmoid(-1))],
        [1 * max(sigmoid(-2), sigmoid(3)), 3 * max(sigmoid(-2), sigmoid(-1))],
    ]
    torch.testing.assert_close(both(FEATURES), torch.tensor(by_hand).view(1, 2, 1, 2))
