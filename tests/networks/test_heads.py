import pytest
import torch
from pydantic import ValidationError
from torch import nn

from segduet.core.errors import RequestError
from segduet.networks.config import HeadConfig
from segduet.networks.heads.head import Head, build_head
from segduet.networks.heads.inputs import FeatureWidths, HeadInputs

WIDTHS = (4, 6, 8)
SHAPES = {2: ((8, 12), (4, 6), (2, 3)), 3: ((3, 8, 12), (3, 4, 6), (3, 2, 3))}


def inputs(dims: int = 2, batch: int = 2, region: torch.Tensor | None = None) -> HeadInputs:
    generator = torch.Generator().manual_seed(5)
    stages = tuple(
        torch.randn(batch, width, *shape, generator=generator, requires_grad=True)
        for width, shape in zip(WIDTHS, SHAPES[dims], strict=True)
    )
    decoded = torch.randn(batch, WIDTHS[0], *SHAPES[dims][0], generator=generator)
    if region is None:
        region = torch.rand(batch, 1, *SHAPES[dims][0], generator=generator)
    return HeadInputs(
        stages=stages,
        decoded=decoded.requires_grad_(),
        region=region.requires_grad_(),
        weights=torch.ones(batch, 1, *SHAPES[dims][0]),
    )


def alone(features: torch.Tensor, region: torch.Tensor) -> HeadInputs:
    """One stage at full resolution."""
    weights = torch.ones_like(region)
    return HeadInputs(stages=(features,), decoded=None, region=region, weights=weights)


def make(kind: str, widths=WIDTHS, num_outputs: int = 3, **options) -> Head:
    options = {"hidden": (5,), **options}
    offered = FeatureWidths(stages=widths, decoder=widths[0])
    return build_head(HeadConfig(kind=kind, **options), offered, num_outputs)


def mask_pooled(**options) -> Head:
    return make("mask_pooled", **options)


def pooled(head: Head, given: HeadInputs) -> torch.Tensor:
    return head.pooled(head.sums(given))


def in_features(head: Head) -> int:
    return head.readout.perceptron[0].normalized_shape[0]


def test_bottleneck_head_has_the_first_seeds_layers_and_count():
    """F16: 320-128-64-3 with LayerNorm: 640 + 41,088 + 8,256 + 195 parameters."""
    head = make("bottleneck", (32, 64, 128, 256, 320, 320), hidden=(128, 64))
    linears = [m for m in head.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linears] == [(320, 128), (128, 64), (64, 3)]
    assert [m.p for m in head.modules() if isinstance(m, nn.Dropout)] == [0.3, 0.3]
    assert sum(p.numel() for p in head.parameters()) == 640 + 41_088 + 8_256 + 195
    bare = make("bottleneck", (32, 64, 128, 256, 320, 320), hidden=(128, 64), layer_norm=False)
    assert sum(p.numel() for p in bare.parameters()) == 41_088 + 8_256 + 195


def test_bottleneck_head_sees_only_the_mean_of_the_deepest_stage():
    head = make("bottleneck").eval()
    given = inputs()
    mean = given.stages[-1].mean((2, 3))
    torch.testing.assert_close(head(given), head.readout.perceptron(mean))
    head(given).sum().backward()
    assert given.stages[0].grad is None


@pytest.mark.parametrize("dims", [2, 3])
def test_an_empty_prediction_falls_back_to_the_window_mean(dims):
    """B05, F17: the mean in the region equals the plain mean where nothing is predicted."""
    given = inputs(dims, region=torch.zeros(2, 1, *SHAPES[dims][0]))
    vector = pooled(mask_pooled(stages=(1, 2)), given)
    assert torch.isfinite(vector).all()
    for width, stage, start in ((6, given.stages[1], 0), (8, given.stages[2], 18)):
        window = stage.mean(tuple(range(2, stage.ndim)))
        torch.testing.assert_close(vector[:, start : start + width], window)
        torch.testing.assert_close(vector[:, start + width : start + 2 * width], window)


def test_all_background_logits_are_as_good_as_empty():
    """A certain background leaves a residue of probability; it must not steer the pooling."""
    logits = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    logits[:, 0] += 25
    given = inputs(region=torch.softmax(logits, 1)[:, 2:])
    vector = pooled(mask_pooled(stages=(2,)), given)
    torch.testing.assert_close(vector[:, :8], given.stages[2].mean((2, 3)), atol=1e-4, rtol=0)


def test_a_confident_region_gives_its_own_mean_and_spread():
    """Features 1 inside and 9 outside, one voxel in four predicted, a prior that hardly counts."""
    region = torch.zeros(1, 1, 8, 12)
    region[..., :4, :6] = 1
    features = torch.where(region > 0, 1.0, 9.0).expand(1, 4, 8, 12)
    head = mask_pooled(widths=(4,), stages=(0,), prior_voxels=1e-3)
    inside, window, deviation = pooled(head, alone(features, region)).split(4, 1)
    torch.testing.assert_close(inside, torch.ones(1, 4), atol=1e-3, rtol=0)
    torch.testing.assert_close(window, torch.full((1, 4), 7.0))
    torch.testing.assert_close(deviation, torch.zeros(1, 4), atol=0.05, rtol=0)


def test_texture_that_leaves_the_mean_alone_shows_in_the_second_moments():
    """B05: two textures of equal mean differ only with `second_moments`."""
    sign = torch.tensor([1.0, -1.0]).repeat(48).reshape(1, 1, 8, 12)
    faint, strong = (alone(k * sign, torch.ones(1, 1, 8, 12)) for k in (0.5, 2.0))
    having = mask_pooled(widths=(1,), stages=(0,))
    without = mask_pooled(widths=(1,), stages=(0,), second_moments=False)
    torch.testing.assert_close(pooled(without, faint), pooled(without, strong))
    difference = pooled(having, strong) - pooled(having, faint)
    torch.testing.assert_close(difference, torch.tensor([[0.0, 0.0, 1.5]]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("kind", "options", "width"),
    [
        ("mask_pooled", {}, 3 * (6 + 8)),
        ("mask_pooled", {"second_moments": False}, 2 * (6 + 8)),
        ("mask_pooled", {"stages": (0, 1, 2)}, 3 * (4 + 6 + 8)),
        ("mask_pooled", {"stages": (2,)}, 3 * 8),
        ("mask_pooled", {"decoder_features": True}, 3 * (6 + 8 + 4)),
        ("gem", {}, 6 + 8),
        ("gem", {"stages": (0, 2), "decoder_features": True}, 4 + 8 + 4),
        ("attention", {"width": 12}, 2 * 2 * 4 * 12),
        ("attention", {"width": 12, "stages": (1,), "second_moments": False}, 4 * 12),
        ("attention", {"width": 12, "decoder_features": True, "num_queries": 1}, 3 * 2 * 12),
        ("bottleneck", {}, 8),
    ],
)
def test_every_source_changes_the_input_width_as_declared(kind, options, width):
    """F17, F19: disabling an attach point takes its channels away."""
    head = make(kind, **options)
    assert in_features(head) == head.pooling.width == width
    assert pooled(head, inputs()).shape == (2, width)


@pytest.mark.parametrize("kind", ["mask_pooled", "gem", "attention"])
def test_only_the_chosen_sources_receive_a_gradient(kind):
    """F17: attach points are selectable."""
    given = inputs()
    make(kind, stages=(1,)).eval()(given).square().sum().backward()
    assert [stage.grad is not None for stage in given.stages] == [False, True, False]
    assert given.decoded.grad is None
    given = inputs()
    make(kind, stages=(1,), decoder_features=True).eval()(given).square().sum().backward()
    assert given.decoded.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("kind", "options"), [("mask_pooled", {}), ("attention", {"mask_guided": True})]
)
def test_the_mask_gets_a_gradient_only_on_request(kind, options):
    for wanted in (False, True):
        given = inputs()
        make(kind, mask_gradient=wanted, **options).eval()(given).square().sum().backward()
        assert (given.region.grad is not None) == wanted


def test_first_answers_are_near_uniform():
    """Young heads must not pull at the encoder; LayerNorm bounds what comes in."""
    probabilities = torch.softmax(mask_pooled().eval()(inputs(batch=4)), 1)
    torch.testing.assert_close(probabilities, torch.full((4, 3), 1 / 3), atol=0.05, rtol=0)


@pytest.mark.parametrize("kind", ["mask_pooled", "gem", "attention"])
def test_a_stage_the_encoder_lacks_is_refused(kind):
    with pytest.raises(RequestError, match=r"found \[1, 3\]; expected stages from 0 to 2"):
        make(kind, stages=(1, 3))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"kind": "mask_pooled"}, "mask_pooled"),
        ({"kind": "gem", "decoder_features": True}, "decoder_features"),
        ({"kind": "attention", "mask_guided": True}, "mask_guided"),
    ],
)
def test_a_head_that_needs_a_decoder_is_refused_without_one(options, named):
    with pytest.raises(RequestError, match=f"head, .*{named}.*only classifies"):
        build_head(HeadConfig(**options), FeatureWidths(stages=WIDTHS, decoder=None), 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "bottleneck", "stages": (1,)}, "stages.*no effect"),
        ({"kind": "bottleneck", "mask_gradient": True}, "mask_gradient.*no effect"),
        ({"kind": "gem", "second_moments": False}, "second_moments.*no effect"),
        ({"kind": "gem", "mask_gradient": True}, "mask_gradient.*no effect"),
        ({"kind": "mask_pooled", "power": 4}, "power.*no effect"),
        ({"kind": "mask_pooled", "num_queries": 2}, "num_queries.*no effect"),
        ({"kind": "attention", "spatial_attention": True}, "spatial_attention.*no effect"),
        ({"kind": "attention", "mask_gradient": True}, "mask_gradient.*mask_guided"),
        ({"kind": "attention", "width": 10}, "multiple"),
        ({"hidden": (), "dropout": 0.5}, "dropout.*hidden"),
        ({"stages": ()}, "stages"),
        ({"stages": (1, 1)}, "repeat"),
        ({"hidden": (0,)}, "positive"),
        ({"dropout": 1.0}, "dropout"),
        ({"prior_voxels": 0}, "prior_voxels"),
        ({"kind": "gem", "power": 0.5}, "power"),
        ({"kind": "transformer"}, "kind"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
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
    given = alone(features, torch.ones(60, 1, 8, 12))
    head = mask_pooled(widths=(41,), stages=(0,), hidden=(128, 64))
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(head(given), classes).backward()
        optimiser.step()
    answers = head.eval()(given).argmax(1)
    assert (answers == classes).float().mean() > 0.9
