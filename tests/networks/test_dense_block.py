import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, conv2d, instance_norm, prelu

from segduet.networks.backbone_config import QuickNATConfig
from segduet.networks.dense_block import DenseBlock, dense_stage


def block_parameters(fan_in: int, filters: int, kernel: int) -> int:
    """As the authors' code has them: three convolutions with bias, three norms, one slope."""
    looking = sum((fan_in + i * filters) * filters * kernel**2 + filters for i in (0, 1))
    last = (fan_in + 2 * filters) * filters + filters
    norms = sum(2 * (fan_in + i * filters) for i in (0, 1, 2))
    return looking + last + norms + 1


@pytest.mark.parametrize("fan_in", [1, 64, 128])
def test_count_equals_the_original_formula(fan_in):
    """F21."""
    block = DenseBlock(fan_in, QuickNATConfig())
    assert sum(p.numel() for p in block.parameters()) == block_parameters(fan_in, 64, 5)
    assert [m.num_parameters for m in block.modules() if isinstance(m, nn.PReLU)] == [1]


def test_shapes_of_the_convolutions_are_the_originals():
    """F21: 5 x 5 on the input, 5 x 5 on input + 64, 1 x 1 on input + 128."""
    shapes = [tuple(conv.weight.shape) for conv in DenseBlock(7, QuickNATConfig()).convs]
    assert shapes == [(64, 7, 5, 5), (64, 71, 5, 5), (64, 135, 1, 1)]


@pytest.mark.parametrize("normalisation", ["batch", "instance"])
def test_block_equals_the_steps_written_out(normalisation):
    """F21."""
    torch.manual_seed(0)
    block = DenseBlock(2, QuickNATConfig(num_filters=3, kernel_size=3, normalisation=normalisation))
    for norm in block.norms:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    p = block.state_dict()
    image = torch.randn(2, 2, 5, 6)

    def step(x, i, padding):
        scale, shift = p[f"norms.{i}.weight"], p[f"norms.{i}.bias"]
        if normalisation == "batch":
            x = batch_norm(x, None, None, scale, shift, training=True)
        else:
            x = instance_norm(x, weight=scale, bias=shift)
        weight, bias = p[f"convs.{i}.weight"], p[f"convs.{i}.bias"]
        return conv2d(prelu(x, p["rectifier.weight"]), weight, bias, padding=padding)

    first = step(image, 0, 1)
    second = step(torch.cat((image, first), 1), 1, 1)
    third = step(torch.cat((image, first, second), 1), 2, 0)
    torch.testing.assert_close(block(image), third)


def test_instance_statistics_ignore_the_other_images_and_batch_statistics_do_not():
    torch.manual_seed(0)
    image, other = torch.randn(1, 2, 6, 6), torch.randn(1, 2, 6, 6) * 5 + 3
    for normalisation, is_alone in (("instance", True), ("batch", False)):
        config = QuickNATConfig(num_filters=3, normalisation=normalisation)
        block = DenseBlock(2, config).train()
        alone, together = block(image), block(torch.cat((image, other)))[:1]
        assert torch.allclose(alone, together, atol=1e-5) is is_alone


def test_dropout_removes_whole_maps_in_training_only():
    torch.manual_seed(0)
    stage = dense_stage(2, QuickNATConfig(num_filters=8, dropout=0.5, normalisation="instance"))
    image = torch.randn(4, 2, 6, 6)
    is_zero = stage(image).flatten(2).eq(0)
    assert is_zero.all(2).any()
    assert torch.equal(is_zero.all(2), is_zero.any(2))
    assert not stage.eval()(image).eq(0).any()
