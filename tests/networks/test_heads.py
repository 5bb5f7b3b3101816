import pytest
import torch
from pydantic import ValidationError
from torch import nn

from segduet.core.errors import RequestError
from segduet.networks.config import HeadConfig
from segduet.networks.heads import BottleneckHead, HeadInputs, MaskPooledHead

WIDTHS = (4, 6, 8)
SHAPES = {2: ((8, 12), (4, 6), (2, 3)), 3: ((3, 8, 12), (3, 4, 6), (3, 2, 3))}


def inputs(dims: int = 2, batch: int = 2, region: torch.Tensor | None = None) -> HeadInputs:
    generator = torch.Generator().manual_seed(5)
    skips = tuple(
        torch.randn(batch, width, *shape, generator=generator, requires_grad=True)
        for width, shape in zip(WIDTHS, SHAPES[dims], strict=True)
    )
    decoded = torch.randn(batch, WIDTHS[0], *SHAPES[dims][0], generator=generator)
    if region is None:
        region = torch.rand(batch, 1, *SHAPES[dims][0], generator=generator)
    return HeadInputs(skips=skips, decoded=decoded.requires_grad_(), region=region.requires_grad_())


def mask_pooled(**options) -> MaskPooledHead:
    config = HeadConfig(kind="mask_pooled", hidden=(5,), **options)
    return MaskPooledHead(config, widths=WIDTHS, num_classes=3)


def in_features(head: nn.Module) -> int:
    return head.perceptron[0].normalized_shape[0]


def test_bottleneck_head_has_the_first_seeds_layers_and_count():
    """F16: 320-128-64-3 with LayerNorm: 640 + 41,088 + 8,256 + 195 parameters."""
    head = BottleneckHead(
        HeadConfig(kind="bottleneck"), widths=(32, 64, 128, 256, 320, 320), num_classes=3
    )
    linears = [m for m in head.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linears] == [(320, 128), (128, 64), (64, 3)]
    assert [m.p for m in head.modules() if isinstance(m, nn.Dropout)] == [0.3, 0.3]
    assert sum(p.numel() for p in head.parameters()) == 640 + 41_088 + 8_256 + 195


def test_bottleneck_head_sees_only_the_mean_of_the_deepest_stage():
    head = BottleneckHead(HeadConfig(kind="bottleneck"), widths=WIDTHS, num_classes=3).eval()
    given = inputs()
    mean = given.skips[-1].mean((2, 3))
    torch.testing.assert_close(head(given), head.perceptron(mean))
    head(given).sum().backward()
    assert given.skips[0].grad is None


@pytest.mark.parametrize("dims", [2, 3])
def test_an_empty_prediction_falls_back_to_the_window_mean(dims):
    """B05, F17: the mean in the region equals the plain mean where nothing is predicted."""
    empty = torch.zeros(2, 1, *SHAPES[dims][0])
    given = inputs(dims, region=empty)
    pooled = mask_pooled(stages=(1, 2)).pooled(given)
    assert torch.isfinite(pooled).all()
    for width, skip, start in ((6, given.skips[1], 0), (8, given.skips[2], 18)):
        window = skip.mean(tuple(range(2, skip.ndim)))
        torch.testing.assert_close(pooled[:, start : start + width], window)
        torch.testing.assert_close(pooled[:, start + width : start + 2 * width], window)


def test_all_background_logits_are_as_good_as_empty():
    """A certain background leaves a residue of probability; it must not steer the pooling."""
    logits = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    logits[:, 0] += 25
    region = torch.softmax(logits, 1)[:, 2:]
    given = inputs(region=region)
    pooled = mask_pooled(stages=(2,)).pooled(given)
    torch.testing.assert_close(pooled[:, :8], given.skips[2].mean((2, 3)), atol=1e-4, rtol=0)


def test_a_confident_region_gives_its_own_mean_and_spread():
    """Features 1 inside and 9 outside, one voxel in four predicted, a prior that hardly counts."""
    region = torch.zeros(1, 1, 8, 12)
    region[..., :4, :6] = 1
    features = torch.where(region > 0, 1.0, 9.0).expand(1, 4, 8, 12)
    given = HeadInputs(skips=(features,), decoded=features, region=region)
    config = HeadConfig(stages=(0,), prior_voxels=1e-3)
    pooled = MaskPooledHead(config, widths=(4,), num_classes=2).pooled(given)
    inside, window, spread = pooled.split(4, 1)
    torch.testing.assert_close(inside, torch.ones(1, 4), atol=1e-3, rtol=0)
    torch.testing.assert_close(window, torch.full((1, 4), 7.0))
    torch.testing.assert_close(spread, torch.zeros(1, 4), atol=0.05, rtol=0)


def test_texture_that_leaves_the_mean_alone_shows_in_the_second_moments():
    """B05: two textures of equal mean differ only with `second_moments`."""
    sign = torch.tensor([1.0, -1.0]).repeat(48).reshape(1, 1, 8, 12)
    region = torch.ones(1, 1, 8, 12)
    faint, strong = (HeadInputs(skips=(k * sign,), decoded=sign, region=region) for k in (0.5, 2.0))
    with_moments = MaskPooledHead(HeadConfig(stages=(0,)), widths=(1,), num_classes=2)
    without = MaskPooledHead(
        HeadConfig(stages=(0,), second_moments=False), widths=(1,), num_classes=2
    )
    torch.testing.assert_close(without.pooled(faint), without.pooled(strong))
    difference = with_moments.pooled(strong) - with_moments.pooled(faint)
    torch.testing.assert_close(difference, torch.tensor([[0.0, 0.0, 1.5]]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("options", "width"),
    [
        ({}, 3 * (6 + 8)),
        ({"second_moments": False}, 2 * (6 + 8)),
        ({"stages": (0, 1, 2)}, 3 * (4 + 6 + 8)),
        ({"stages": (2,)}, 3 * 8),
        ({"decoder_features": True}, 3 * (6 + 8 + 4)),
    ],
)
def test_every_source_changes_the_input_width_as_declared(options, width):
    """F17."""
    head = mask_pooled(**options)
    assert in_features(head) == width
    assert head.pooled(inputs()).shape == (2, width)


def test_only_the_chosen_sources_receive_a_gradient():
    """F17: attach points are selectable."""
    given = inputs()
    mask_pooled(stages=(1,)).eval()(given).square().sum().backward()
    assert [skip.grad is not None for skip in given.skips] == [False, True, False]
    assert given.decoded.grad is None
    given = inputs()
    mask_pooled(stages=(1,), decoder_features=True).eval()(given).square().sum().backward()
    assert given.decoded.grad.abs().sum() > 0


def test_the_mask_gets_a_gradient_only_on_request():
    for wanted in (False, True):
        given = inputs()
        mask_pooled(mask_gradient=wanted).eval()(given).square().sum().backward()
        assert (given.region.grad is not None) == wanted


def test_first_answers_are_near_uniform():
    """Young heads must not pull at the encoder; LayerNorm bounds what comes in."""
    probabilities = torch.softmax(mask_pooled().eval()(inputs(batch=4)), 1)
    torch.testing.assert_close(probabilities, torch.full((4, 3), 1 / 3), atol=0.05, rtol=0)


def test_a_stage_the_encoder_lacks_is_refused():
    with pytest.raises(RequestError, match="stages from 0 to 2"):
        mask_pooled(stages=(1, 3))


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "bottleneck", "stages": (1,)},
        {"kind": "bottleneck", "mask_gradient": True},
        {"stages": ()},
        {"stages": (1, 1)},
        {"hidden": (0,)},
        {"dropout": 1.0},
        {"prior_voxels": 0},
        {"kind": "attention"},
        {"unknown": 1},
    ],
)
def test_senseless_options_are_refused(options):
    with pytest.raises(ValidationError):
        HeadConfig(**options)


def test_a_written_configuration_reads_back():
    for config in (HeadConfig(), HeadConfig(kind="bottleneck", hidden=()), HeadConfig(stages=(0,))):
        assert HeadConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("seed", range(5))
def test_a_faint_texture_is_learned_without_collapsing_to_one_class(seed):
    """B05: three textures of equal mean, their spread a few per cent apart beside 40 channels of
    common offset. Fails where the pooled features go into the perceptron as they are."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    classes = torch.arange(60) % 3
    noise = torch.randn(60, 1, 8, 12, generator=generator)
    noise = noise - noise.mean((2, 3), keepdim=True)
    noise = noise / noise.std((2, 3), keepdim=True)
    textured = noise * (0.5 + 0.05 * classes.reshape(-1, 1, 1, 1))
    common = torch.linspace(-2, 2, 40).reshape(1, -1, 1, 1).expand(60, -1, 8, 12)
    features = torch.cat([textured, common], 1)
    given = HeadInputs(skips=(features,), decoded=features, region=torch.ones(60, 1, 8, 12))
    head = MaskPooledHead(HeadConfig(stages=(0,)), widths=(41,), num_classes=3)
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(head(given), classes).backward()
        optimiser.step()
    answers = head.eval()(given).argmax(1)
    assert (answers == classes).float().mean() > 0.9
