import pytest
import torch

from segduet.core.errors import DataError
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan
from segduet.core.tasks import TaskSpec
from segduet.networks.config import HeadConfig
from segduet.networks.joint import JointNetwork, build_joint_network, head_key
from segduet.networks.stock_view import SegmentationView
from segduet.networks.warm_start import load_matching
from tiny_plans import tiny_configuration

LABELS = LabelScheme.from_dataset_json({"background": 0, "organ": 1}, None, where="test")


def build(seed: int = 0, *, tasks: tuple[str, ...] = ("kind",), labels=LABELS) -> JointNetwork:
    torch.manual_seed(seed)
    return build_joint_network(
        configuration=tiny_configuration([8, 8]),
        num_channels=1,
        labels=labels,
        tasks=[TaskSpec(name=name, classes=("a", "b")) for name in tasks],
        head=HeadConfig(hidden=(4,)),
        deep_supervision=False,
    )


def image() -> torch.Tensor:
    return torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_deep_supervision_follows_the_decoders_switch_both_ways():
    """nnU-Net's trainer sets `decoder.deep_supervision`; ours sets the property."""
    network = build()
    assert len(network(image()).segmentation) == 1
    network.deep_supervision = True
    assert network.decoder.deep_supervision is True
    shapes = [tuple(s.shape[2:]) for s in network(image()).segmentation]
    assert shapes == [(8, 8), (4, 4)]
    network.decoder.deep_supervision = False
    assert network.deep_supervision is False
    assert len(network(image()).segmentation) == 1


@pytest.mark.parametrize("names", [("type", "forward"), ("a.b", "a%2Eb"), ("ünï code",)])
def test_tasks_may_have_any_name(names):
    network = build(tasks=names)
    assert network.tasks == names
    assert len({head_key(n) for n in names}) == len(names)
    assert list(network(image()).case_logits) == list(names)


def test_an_unknown_evidence_region_is_refused():
    with pytest.raises(DataError, match=r"'kind'.*'tumour'.*organ"):
        build_joint_network(
            configuration=tiny_configuration([8, 8]),
            num_channels=1,
            labels=LABELS,
            tasks=[TaskSpec(name="kind", classes=("a", "b"), evidence_region="tumour")],
            head=HeadConfig(),
            deep_supervision=False,
        )


def test_the_stock_view_gives_what_nnunet_expects_and_shares_all_weights():
    """B11: a tensor, or a list under deep supervision; same state-dict keys."""
    network = build().eval()
    view = SegmentationView(network)
    outputs = network(image())
    assert torch.equal(view(image()), outputs.segmentation[0])
    assert torch.equal(view.joint(image()).case_logits["kind"], outputs.case_logits["kind"])
    view.decoder.deep_supervision = True
    listed = view(image())
    assert isinstance(listed, list)
    assert all(map(torch.equal, listed, network(image()).segmentation))
    assert list(view.state_dict()) == list(network.state_dict())
    assert {id(p) for p in view.parameters()} == {id(p) for p in network.parameters()}


def test_stock_weights_start_a_joint_network_and_every_other_key_is_reported():
    """B11."""
    stock, joint = build(1, tasks=()), build(2)
    report = load_matching(joint, stock.state_dict())
    assert set(report.loaded) == set(stock.state_dict())
    assert set(report.missing) == {k for k in joint.state_dict() if k.startswith("heads.")}
    assert report.missing
    assert (report.unexpected, report.wrong_shape) == ((), {})
    assert torch.equal(stock(image()).segmentation[0], joint(image()).segmentation[0])


def test_other_labels_leave_the_last_layers_alone_and_say_so():
    """B11: shapes that differ are reported with both shapes, not copied."""
    more = LabelScheme.from_dataset_json(
        {"background": 0, "organ": 1, "lesion": 2}, None, where="test"
    )
    source, joint = build(1, labels=more), build(2)
    before = joint.decoder.seg_layers[0].weight.clone()
    report = load_matching(joint, {**source.state_dict(), "extra": torch.zeros(1)})
    assert report.wrong_shape["decoder.seg_layers.0.weight"] == ((3, 6, 1, 1), (2, 6, 1, 1))
    assert all(key.startswith("decoder.seg_layers.") for key in report.wrong_shape)
    assert report.unexpected == ("extra",)
    assert report.missing == ()
    assert torch.equal(joint.decoder.seg_layers[0].weight, before)
    accounted = {*report.loaded, *report.missing, *report.wrong_shape}
    assert accounted == set(joint.state_dict())


def test_a_tensor_reached_by_another_name_is_not_missing():
    """The decoder holds the encoder a second time; the plain names are enough."""
    source, joint = build(1), build(2)
    plain = {k: v for k, v in source.state_dict().items() if not k.startswith("decoder.encoder.")}
    report = load_matching(joint, plain)
    assert report.missing == ()
    assert torch.equal(
        source.eval()(image()).segmentation[0], joint.eval()(image()).segmentation[0]
    )


def test_weights_of_which_none_fits_are_refused():
    with pytest.raises(DataError, match="none of which fits"):
        load_matching(build(), {"layer.weight": torch.zeros(3)})


def test_first_seeds_plan_builds_its_network():
    """F13, F16: ResEnc-M of the quiz, about 102.3 M parameters, on the meta device (no memory)."""
    plan = tiny_configuration([8, 8]).model_dump(by_alias=True)
    stages = {
        "n_stages": 6,
        "features_per_stage": [32, 64, 128, 256, 320, 320],
        "conv_op": "torch.nn.Conv3d",
        "kernel_sizes": [[1, 3, 3], *[[3, 3, 3]] * 5],
        "strides": [[1, 1, 1], [1, 2, 2], *[[2, 2, 2]] * 4],
        "n_blocks_per_stage": [1, 3, 4, 6, 6, 6],
        "n_conv_per_stage_decoder": [1] * 5,
        "norm_op": "torch.nn.InstanceNorm3d",
    }
    plan |= {"patch_size": [32, 64, 64], "spacing": [2.0, 0.7, 0.7]}
    plan["median_image_size_in_voxels"] = [64, 118, 181]
    architecture = plan["architecture"]
    architecture["network_class_name"] = architecture["network_class_name"].replace(
        "PlainConvUNet", "ResidualEncoderUNet"
    )
    architecture["arch_kwargs"] |= stages
    del architecture["arch_kwargs"]["n_conv_per_stage"]
    with torch.device("meta"):
        network = build_joint_network(
            configuration=ConfigurationPlan.model_validate(plan),
            num_channels=1,
            labels=LABELS,
            tasks=[TaskSpec(name="subtype", classes=("0", "1", "2"))],
            head=HeadConfig(kind="bottleneck"),
            deep_supervision=True,
        )
    head = sum(p.numel() for p in network.heads.parameters())
    assert head == 640 + 41_088 + 8_256 + 195
    assert 102.2e6 < sum(p.numel() for p in network.parameters()) - head < 102.4e6
