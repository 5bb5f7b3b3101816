"""F18: every way of attending does what it is for. Case-exact sums are in test_case_exact.py."""

import pytest
import torch
from torch import nn

from segduet.networks.config import HeadConfig
from segduet.networks.heads.head import Head, build_head
from segduet.networks.heads.inputs import FeatureWidths, HeadInputs


def alone(features: torch.Tensor, region: torch.Tensor | None = None) -> HeadInputs:
    """One stage at full resolution."""
    weights = torch.ones(len(features), 1, *features.shape[2:])
    return HeadInputs(stages=(features,), decoded=None, region=region, weights=weights)


def make(kind: str, channels: int, **options) -> Head:
    config = HeadConfig(kind=kind, **{"hidden": (16,), "dropout": 0, **options})
    return build_head(config, FeatureWidths(stages=(channels,), decoder=channels), 2)


def pooled(head: Head, given: HeadInputs) -> torch.Tensor:
    return head.pooled(head.sums(given))


def fit(
    head: Head, given: HeadInputs, classes: torch.Tensor, *, steps: int, rate: float = 1e-2
) -> None:
    wanted = [p for p in head.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(wanted, lr=rate)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(head(given), classes).backward()
        optimiser.step()
    head.eval()


def accuracy(head: Head, given: HeadInputs, classes: torch.Tensor) -> float:
    with torch.no_grad():
        return float((head(given).argmax(1) == classes).float().mean())


def blocks(seed: int, count: int = 96, shape: tuple[int, ...] = (16, 16)):
    """Cases with one block of 3 voxels per axis: channel 0 marks it, channel 1 tells the class.

    Channel 1 is 1 or -1 in the block (by class) and noise of twice that size elsewhere, so that
    its mean over the case says next to nothing: a shift of 9 / 256 beside a deviation of 0.12.
    """
    rng = torch.Generator().manual_seed(seed)
    classes = torch.arange(count) % 2
    marker = torch.zeros(count, 1, *shape)
    for case in range(count):
        corner = [int(torch.randint(0, n - 2, (), generator=rng)) for n in shape]
        marker[(case, 0, *(slice(c, c + 3) for c in corner))] = 1
    told = (2 * classes - 1).reshape(-1, 1, *[1] * len(shape)).float()
    noise = 2 * torch.randn(count, 1, *shape, generator=rng)
    features = torch.cat([marker, torch.where(marker > 0, told.expand_as(noise), noise)], 1)
    return alone(features, marker), classes


def only_reads(head: Head, index: int, offset: float = 0.0) -> None:
    """Fixes the readout: class 1 where pooled number `index` is above the offset."""
    steep = nn.Linear(head.pooling.width, 2)
    steep.weight.data.zero_()
    steep.weight.data[:, index] = torch.tensor([-10.0, 10.0])
    steep.bias.data = torch.tensor([10.0, -10.0]) * offset
    head.readout.normalise, head.readout.perceptron = nn.Identity(), steep
    head.readout.requires_grad_(False)


@pytest.mark.parametrize("shape", [(16, 16), (6, 8, 8)])
def test_attention_tells_the_block_where_averaging_fails(shape):
    """F18: same readout, same features, same steps; measured on other cases."""
    given, classes = blocks(1, shape=shape)
    unseen, unseen_classes = blocks(2, shape=shape)
    scores = {}
    small = {"num_queries": 2, "num_attention_heads": 2, "width": 8}
    for kind, options in (("attention", small), ("bottleneck", {})):
        torch.manual_seed(0)
        head = make(kind, 2, **options)
        fit(head, given, classes, steps=100)
        scores[kind] = accuracy(head, unseen, unseen_classes)
    assert scores["attention"] > 0.95
    assert scores["attention"] > scores["bottleneck"] + 0.15


def test_attention_turns_to_the_informative_block():
    """F18: with values and readout fixed to channel 1, looking at the block is all that helps."""
    given, classes = blocks(1)
    unseen, unseen_classes = blocks(2)
    torch.manual_seed(0)
    options = {"num_queries": 1, "num_attention_heads": 1, "width": 1, "second_moments": False}
    head = make("attention", 2, **options)
    head.pooling.values[0].weight.data = torch.tensor([0.0, 1.0]).reshape(1, 2, 1)
    head.pooling.values[0].bias.data.zero_()
    head.pooling.values.requires_grad_(False)
    only_reads(head, 0)
    before = accuracy(head, unseen, unseen_classes)
    fit(head, given, classes, steps=400, rate=5e-2)
    weights = head.attention(unseen, head.sums(unseen)).detach()
    torch.testing.assert_close(weights.sum((1, 2, 3)), torch.ones(len(weights)))
    assert float((weights * unseen.region).sum((1, 2, 3)).mean()) > 10 * 9 / 256
    assert accuracy(head, unseen, unseen_classes) > max(0.95, before + 0.2)


@pytest.mark.parametrize(
    ("kind", "options", "shift"),
    [("gem", {"power": 1.0}, 5.0), ("mask_pooled", {"second_moments": False}, 0.0)],
)
def test_the_spatial_gate_opens_for_the_informative_voxels(kind, options, shift):
    """F18: nothing is predicted and channel 1 alone is read; the gate has to find the block.

    (Shifted up for gem, which drops what is negative.)
    """
    given, classes = blocks(1)
    unseen, unseen_classes = blocks(2)
    is_block = unseen.region > 0
    given, unseen = (
        alone(g.stages[0] + shift, torch.zeros_like(g.region)) for g in (given, unseen)
    )
    torch.manual_seed(0)
    head = make(kind, 2, spatial_attention=True, **options)
    only_reads(head, 1, offset=shift)
    if kind == "gem":
        head.pooling.power.requires_grad_(False)
    before = accuracy(head, unseen, unseen_classes)  # gates of 0.5: plain pooling
    fit(head, given, classes, steps=600, rate=5e-2)
    gate = head.pooling.gates[0](unseen.stages[0]).detach()
    assert gate[is_block].mean() > 5 * gate[~is_block].mean()
    assert accuracy(head, unseen, unseen_classes) > max(0.9, before + 0.2)


def test_a_predicted_mask_guides_attention_before_it_has_learned_anything():
    """F18: values 1 in the region and 9 elsewhere; equal logits leave the region to decide."""
    region = torch.zeros(1, 1, 8, 12)
    region[..., :4, :6] = 1
    features = torch.where(region > 0, 1.0, 9.0)
    for guided in (False, True):
        head = make("attention", 1, mask_guided=guided, width=4, second_moments=False)
        for parameter in head.pooling.parameters():
            nn.init.zeros_(parameter)
        nn.init.ones_(head.pooling.values[0].weight)
        found = pooled(head, alone(features, region))
        expected = (24 * 1 + 7) / 25 if guided else 7.0  # a prior of one voxel, with the mean 7
        torch.testing.assert_close(found, torch.full((1, 16), expected))
        empty = pooled(head, alone(features, torch.zeros_like(region)))
        torch.testing.assert_close(empty, torch.full((1, 16), 7.0))


def test_generalised_mean_goes_from_the_mean_to_the_maximum():
    """F17: p = 1 is the mean, p = 20 within N^(-1/20) of the maximum, 3 between and by formula."""
    features = torch.rand(2, 4, 6, 6, generator=torch.Generator().manual_seed(0)) + 0.1
    given = alone(features)
    largest = features.amax((2, 3))
    by_power = {p: pooled(make("gem", 4, power=p), given).detach() for p in (1, 3, 20)}
    torch.testing.assert_close(by_power[1], features.mean((2, 3)))
    torch.testing.assert_close(by_power[3], features.pow(3).mean((2, 3)).pow(1 / 3))
    assert (by_power[20] <= largest).all()
    assert (by_power[20] >= largest * 36 ** (-1 / 20)).all()
    assert (by_power[1] < by_power[3]).all()
    assert (by_power[3] < by_power[20]).all()


def test_the_power_is_learned_towards_what_tells_the_classes_apart():
    """One bright voxel in class 1, the rest made up so that the means agree: a larger p tells."""
    generator = torch.Generator().manual_seed(3)
    features = 0.5 + 0.02 * torch.randn(60, 1, 8, 8, generator=generator)
    classes = torch.arange(60) % 2
    features[classes == 1, 0, 4, 4] += 0.6
    features -= (features.mean((2, 3), keepdim=True) - 0.5) * torch.ones_like(features)
    torch.manual_seed(0)
    head = make("gem", 1, power=1.0)
    # no standardising: the scale of the vector is the signal
    head.readout.normalise = nn.Identity()
    steep = nn.Linear(1, 2)
    steep.weight.data, steep.bias.data = (
        torch.tensor([[-20.0], [20.0]]),
        torch.tensor([10.2, -10.2]),
    )
    head.readout.perceptron = nn.Sequential(steep)
    fit(head, alone(features), classes, steps=100)
    assert head.pooling.power.item() > 1.2


def test_features_of_zero_leave_all_gradients_finite():
    head = make("gem", 2, power=20.0)
    features = torch.zeros(2, 2, 4, 4, requires_grad=True)
    head(alone(features)).square().sum().backward()
    assert torch.isfinite(features.grad).all()
    assert torch.isfinite(head.pooling.power.grad).all()


def test_the_channel_gate_depends_on_the_case_and_helps():
    """F18: channel 0 says which of channels 1 and 2 is to be believed; their product of signs."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(400, 3, generator=generator)
    classes = torch.where(vectors[:, 0] > 0, vectors[:, 1], vectors[:, 2]).gt(0).long()
    given = alone(vectors[:, :, None, None].expand(-1, -1, 2, 2))
    scores = {}
    for gated in (False, True):
        torch.manual_seed(0)
        head = make("bottleneck", 3, hidden=(), dropout=0.3, layer_norm=False,
                    channel_attention=gated)  # fmt: skip
        fit(head, given, classes, steps=300)
        scores[gated] = accuracy(head, given, classes)
    gates = head.readout.normalise[1].excitation(vectors).detach()
    told_first = vectors[:, 0] > 0.5
    told_second = vectors[:, 0] < -0.5
    assert gates[told_first, 1].mean() > gates[told_second, 1].mean() + 0.2
    assert gates[told_second, 2].mean() > gates[told_first, 2].mean() + 0.2
    assert scores[True] > scores[False] + 0.1


def test_pooling_inside_the_mask_beats_the_bottleneck_on_texture():
    """B05: two textures of equal mean in the region, stronger clutter around it."""
    generator = torch.Generator().manual_seed(4)
    classes = torch.arange(60) % 2
    region = torch.zeros(60, 1, 12, 12)
    region[..., 3:9, 3:9] = 1
    noise = torch.randn(60, 1, 12, 12, generator=generator)
    strength = torch.where(region > 0, 0.5 + 0.6 * classes.reshape(-1, 1, 1, 1), 3.0)
    given = alone(noise * strength, region)
    scores = {}
    for kind in ("mask_pooled", "bottleneck"):
        torch.manual_seed(0)
        head = make(kind, 1, layer_norm=False)  # three numbers; normalising leaves too little
        fit(head, given, classes, steps=100)
        scores[kind] = accuracy(head, given, classes)
    assert scores["mask_pooled"] > 0.9
    assert scores["mask_pooled"] > scores["bottleneck"] + 0.2
