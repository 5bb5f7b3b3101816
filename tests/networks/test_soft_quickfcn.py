import pytest
import torch

from segduet.networks.backbone_config import SoftQuickFCNConfig
from segduet.networks.cross_stitch import is_cross_stitch
from segduet.networks.quicknat import QuickNATEncoder
from segduet.networks.soft_quickfcn import SoftQuickFCNEncoder


def config(**options) -> SoftQuickFCNConfig:
    return SoftQuickFCNConfig(
        **{"num_filters": 3, "kernel_size": 3, "levels": 2, "dropout": 0.0, **options}
    )


def soft(**options) -> SoftQuickFCNEncoder:
    torch.manual_seed(6)
    return SoftQuickFCNEncoder(2, config(**options))


def image() -> torch.Tensor:
    return torch.randn(2, 2, 9, 8, generator=torch.Generator().manual_seed(7))


def test_identity_stitches_leave_two_networks_exactly():
    """F25."""
    encoder = soft(stitch_init="identity")
    columns = [QuickNATEncoder(2, config()) for _ in range(2)]
    columns[0].load_state_dict(encoder.for_masks.state_dict())
    columns[1].load_state_dict(encoder.for_cases.state_dict())
    features = encoder(image())
    for ours, column in zip((features.for_masks, features.for_cases), columns, strict=True):
        alone = column(image())
        assert len(ours) == len(alone) == 3
        assert all(map(torch.equal, ours, alone))


def test_stitches_act_from_the_first_pooling_on():
    """F25: the first skip comes before any stitch; all that is deeper changes."""
    apart, shared = soft(stitch_init="identity"), soft(stitch_init="identity")
    with torch.no_grad():
        shared.stitches[0].weight.copy_(torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
    before, after = apart(image()), shared(image())
    for column in ("for_masks", "for_cases"):
        same = [
            torch.equal(*pair)
            for pair in zip(getattr(before, column), getattr(after, column), strict=True)
        ]
        assert same == [True, False, False]


def test_stitches_are_parameters_found_by_name():
    """F25: one per pooling and one at the bottleneck, a 2 x 2 matrix per channel."""
    encoder = soft()
    stitches = {n: tuple(p.shape) for n, p in encoder.named_parameters() if is_cross_stitch(n)}
    names = ["stitches.0.weight", "stitches.1.weight", "bottleneck_stitch.weight"]
    assert stitches == dict.fromkeys(names, (3, 2, 2))
    assert stitches.keys() <= encoder.state_dict().keys()
    assert all("stitch" in name for name in stitches)


@pytest.mark.parametrize("start", ["near_identity", "identity", "uniform"])
def test_each_task_moves_the_stitches_it_reads_through(start):
    """F25: through its own row at the bottleneck, through both rows before it (unless identity)."""
    for column, row in (("for_masks", 0), ("for_cases", 1)):
        encoder = soft(stitch_init=start)
        # One pixel, as normalisation holds the mean square of a map nearly constant.
        getattr(encoder(image()), column)[-1][:, :, 0, 0].square().sum().backward()
        last = encoder.bottleneck_stitch.weight.grad
        assert (last[:, row] != 0).all()
        assert (last[:, 1 - row] == 0).all()
        for unit in encoder.stitches:
            assert (unit.weight.grad[:, row].abs().amax(1) > 0).all()
        other_row = encoder.stitches[0].weight.grad[:, 1 - row]
        assert bool((other_row != 0).any()) is (start != "identity")


def test_start_modes_differ():
    """F25."""
    deepest = [
        soft(stitch_init=s)(image()).for_masks[-1] for s in ("near_identity", "identity", "uniform")
    ]
    assert not torch.allclose(deepest[0], deepest[1])
    assert not torch.allclose(deepest[0], deepest[2])
    assert not torch.allclose(deepest[1], deepest[2])
