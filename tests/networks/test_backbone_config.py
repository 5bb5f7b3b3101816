import pytest
from pydantic import TypeAdapter, ValidationError

from segduet.networks.backbone_config import (
    BackboneConfig,
    PlannedConfig,
    QuickNATConfig,
    SoftQuickFCNConfig,
)

ADAPTER: TypeAdapter[BackboneConfig] = TypeAdapter(BackboneConfig)


def test_defaults_are_the_sources():
    """F21: 64 filters, 5 x 5, four poolings. F25: 32 filters, three poolings, instance norm."""
    original, soft = QuickNATConfig(), SoftQuickFCNConfig()
    assert (original.num_filters, original.kernel_size, original.levels) == (64, 5, 4)
    assert (original.normalisation, original.dropout) == ("batch", 0.2)
    assert (soft.num_filters, soft.levels, soft.dropout) == (32, 3, 0.05)
    assert (soft.normalisation, soft.stitch_init) == ("instance", "near_identity")


def test_the_kind_chooses_the_class():
    assert ADAPTER.validate_python({"kind": "planned", "width_factor": 1.5}) == PlannedConfig(
        width_factor=1.5
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "vnet"}, "planned"),
        ({"kind": "planned", "num_filters": 3}, "num_filters"),
        ({"kind": "quicknat", "kernel_size": 4}, "kernel_size 4 must be odd"),
        ({"kind": "quicknat", "stitch_init": "identity"}, "stitch_init"),
        ({"kind": "quicknat", "squeeze_excite": "both"}, "squeeze_excite"),
        ({"kind": "quicknat", "num_filters": 1}, "num_filters"),
        ({"kind": "planned", "width_factor": 0}, "width_factor"),
        ({"kind": "planned", "width_factor": float("inf")}, "width_factor"),
    ],
)
def test_what_cannot_be_is_refused_by_name(content, message):
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(content)
