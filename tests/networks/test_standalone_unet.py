import torch
from torch import nn
from torch.nn.functional import conv3d, conv_transpose3d, instance_norm, leaky_relu, max_pool3d

from segduet.networks.standalone_unet import StandaloneDecoder, StandaloneEncoder


def count(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_base_32_has_exactly_the_seeds_parameters():
    """F15: 22,970,150 = encoder + decoder with 3 labels + the seed's 512-512-256-3 head.

    The seed's head on the bottleneck's mean: three linear layers, no normalisation.
    """
    with torch.device("meta"):
        encoder = StandaloneEncoder(1, base_filters=32, levels=4)
        decoder = StandaloneDecoder(encoder.output_channels, 3)
        head = nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 256), nn.Linear(256, 3))
    assert encoder.output_channels == [32, 64, 128, 256, 512]
    assert (count(encoder), count(decoder), count(head)) == (14_130_976, 8_444_419, 394_755)
    assert count(encoder, decoder, head) == 22_970_150


def test_one_level_equals_the_steps_written_out():
    torch.manual_seed(0)
    encoder = StandaloneEncoder(2, base_filters=3, levels=1)
    decoder = StandaloneDecoder(encoder.output_channels, 2)
    image = torch.randn(2, 2, 4, 6, 4)
    p = {**encoder.state_dict(prefix="e."), **decoder.state_dict(prefix="d.")}

    def double(x, name):
        for step in (0, 3):
            x = conv3d(x, p[f"{name}.{step}.weight"], p[f"{name}.{step}.bias"], padding=1)
            x = leaky_relu(instance_norm(x), 0.01)
        return x

    high = double(image, "e.stages.0")
    deep = double(max_pool3d(high, 2), "e.stages.1")
    raised = conv_transpose3d(deep, p["d.raises.0.weight"], p["d.raises.0.bias"], stride=2)
    decoded = double(torch.cat((raised, high), 1), "d.stages.0")
    expected = conv3d(decoded, p["d.to_logits.weight"], p["d.to_logits.bias"])

    skips = encoder(image)
    logits, features = decoder.decode(skips)
    torch.testing.assert_close(skips, [high, deep])
    torch.testing.assert_close(features, decoded)
    torch.testing.assert_close(logits, (expected,))


def test_levels_and_width_act():
    """F20."""
    image = torch.zeros(1, 1, 8, 8, 16)
    sizes = [tuple(f.shape[1:]) for f in StandaloneEncoder(1, base_filters=2, levels=2)(image)]
    assert sizes == [(2, 8, 8, 16), (4, 4, 4, 8), (8, 2, 2, 4)]
    assert count(StandaloneEncoder(1, base_filters=4, levels=2)) > count(
        StandaloneEncoder(1, base_filters=2, levels=2)
    )


def test_deep_supervision_leaves_one_resolution():
    torch.manual_seed(0)
    encoder = StandaloneEncoder(1, base_filters=2, levels=1)
    decoder = StandaloneDecoder(encoder.output_channels, 2)
    decoder.deep_supervision = True
    logits, _ = decoder.decode(encoder(torch.randn(1, 1, 4, 4, 4)))
    assert [tuple(entry.shape) for entry in logits] == [(1, 2, 4, 4, 4)]
