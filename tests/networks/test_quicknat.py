import pytest
import torch
from torch.nn.functional import conv2d, max_pool2d, max_unpool2d

from segduet.networks.backbone_config import QuickNATConfig
from segduet.networks.quicknat import QuickNATDecoder, QuickNATEncoder


def parts(num_channels: int = 2, num_outputs: int = 3, **options):
    torch.manual_seed(5)
    config = QuickNATConfig(**{"num_filters": 4, "kernel_size": 3, "levels": 2, **options})
    return QuickNATEncoder(num_channels, config), QuickNATDecoder(config, num_outputs)


def count(*modules) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def image(*size: int) -> torch.Tensor:
    return torch.randn(2, 2, *size, generator=torch.Generator().manual_seed(7))


def original_count(channels: int, classes: int, filters: int, kernel: int, levels: int) -> int:
    """The authors' code: `levels` encoder blocks, a bottleneck, `levels` decoder blocks, 1 x 1."""

    def block(fan_in):
        convs = fan_in * kernel**2 + (fan_in + filters) * kernel**2 + fan_in + 2 * filters
        return convs * filters + 3 * filters + 2 * (3 * fan_in + 3 * filters) + 1

    encoder = block(channels) + levels * block(filters)
    return encoder + levels * block(2 * filters) + filters * classes + classes


def test_count_equals_the_authors_code():
    """F21: one channel and 28 labels, as in their settings."""
    with torch.device("meta"):
        encoder, decoder = parts(1, 28, num_filters=64, kernel_size=5, levels=4)
    assert count(encoder, decoder) == original_count(1, 28, 64, 5, 4) == 3_516_971


@pytest.mark.parametrize(
    ("kind", "extra"), [("channel", 4192), ("spatial", 65), ("channel_spatial", 4257)]
)
def test_squeeze_excite_is_in_every_stage_but_the_bottleneck(kind, extra):
    """F22: the fourth seed's was never active."""
    with torch.device("meta"):
        plain = count(*parts(num_filters=64, levels=3))
        encoder, decoder = parts(num_filters=64, levels=3, squeeze_excite=kind)
    assert count(encoder, decoder) - plain == 6 * extra


@pytest.mark.parametrize("kind", ["channel", "spatial", "channel_spatial"])
def test_squeeze_excite_changes_the_answer_on_equal_weights(kind):
    """F22."""
    plain_encoder, plain_decoder = (part.eval() for part in parts())
    encoder, decoder = (part.eval() for part in parts(squeeze_excite=kind))
    encoder.load_state_dict(plain_encoder.state_dict(), strict=False)
    decoder.load_state_dict(plain_decoder.state_dict(), strict=False)
    (plain,), _ = plain_decoder.decode(plain_encoder(image(8, 8)))
    (gated,), _ = decoder.decode(encoder(image(8, 8)))
    assert not torch.allclose(plain, gated)


@pytest.mark.parametrize("size", [(8, 12), (13, 10), (7, 9)])
def test_any_size_goes_down_and_up_again(size):
    """F21: odd sizes; halves are rounded down."""
    encoder, decoder = parts()
    skips = encoder(image(*size))
    half, quarter = ([axis // n for axis in size] for n in (2, 4))
    assert [list(skip.shape[2:]) for skip in skips] == [list(size), half, quarter]
    assert [skip.shape[1] for skip in skips] == encoder.output_channels == [4, 4, 4]
    logits, features = decoder.decode(skips)
    assert [tuple(entry.shape) for entry in logits] == [(2, 3, *size)]
    assert tuple(features.shape) == (2, 4, *size)


def test_decoding_uses_the_encoders_own_maxima():
    """F21: the same as with indices carried along from the encoder's pooling."""
    encoder, decoder = (part.eval() for part in parts(levels=1))
    skip, deepest = encoder(image(7, 6))
    pooled, indices = max_pool2d(skip, 2, return_indices=True)
    assert torch.equal(encoder.bottleneck(pooled), deepest)
    raised = max_unpool2d(deepest, indices, 2, output_size=[7, 6])
    expected = decoder.stages[0](torch.cat((skip, raised), 1))
    (logits,), features = decoder.decode([skip, deepest])
    assert torch.equal(features, expected)
    assert torch.equal(logits, conv2d(expected, *decoder.to_logits.parameters()))


def test_mixed_precision_gives_the_same_answer_roughly():
    encoder, decoder = (part.eval() for part in parts(normalisation="instance"))
    (exact,), _ = decoder.decode(encoder(image(8, 8)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (rough,), _ = decoder.decode(encoder(image(8, 8)))
    # Near ties may unpool elsewhere, so single pixels can differ more.
    assert (exact - rough.float()).abs().median() < 0.05 * exact.std()


def test_every_parameter_learns_from_the_masks():
    encoder, decoder = parts(squeeze_excite="channel_spatial", dropout=0.0)
    (logits,), _ = decoder.decode(encoder(image(9, 8)))
    logits.square().mean().backward()
    for name, parameter in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert parameter.grad is not None, name
    assert sum(float(p.grad.abs().sum()) > 0 for p in encoder.parameters()) > 0.9 * len(
        list(encoder.parameters())
    )
