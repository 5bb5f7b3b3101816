import pytest
import torch
from torch import nn

from segduet.core.errors import DataError, RequestError
from segduet.networks.backbone_config import QuickNATConfig, SoftQuickFCNConfig
from segduet.networks.cross_stitch import is_cross_stitch
from segduet.networks.joining import join_pretrained
from segduet.networks.quicknat import QuickNATDecoder, QuickNATEncoder
from segduet.networks.soft_quickfcn import SoftQuickFCNEncoder

TINY = {"num_filters": 3, "kernel_size": 3, "levels": 2, "normalisation": "batch"}


class Network(nn.Module):
    """A joint network in small: an encoder, perhaps a decoder, one head."""

    def __init__(self, seed: int, encoder: str, *, has_decoder: bool = True, filters: int = 3):
        super().__init__()
        torch.manual_seed(seed)
        options = TINY | {"num_filters": filters}
        if encoder == "single":
            self.encoder: nn.Module = QuickNATEncoder(1, QuickNATConfig(**options))
        else:
            soft = SoftQuickFCNConfig(**options, stitch_init=encoder)
            self.encoder = SoftQuickFCNEncoder(1, soft)
        if has_decoder:
            self.decoder = QuickNATDecoder(QuickNATConfig(**options), 2)
        self.heads = nn.ModuleDict({"task:kind": nn.Linear(filters, 2)})
        for name, parameter in self.named_parameters():  # norms too differ between seeds
            if not is_cross_stitch(name):
                nn.init.normal_(parameter)

    def masks(self, image):
        features = self.encoder(image)
        logits, _ = self.decoder.decode(getattr(features, "for_masks", features))
        return logits[0]

    def case(self, image):
        features = self.encoder(image)
        return self.heads["task:kind"](getattr(features, "for_cases", features)[-1].mean((2, 3)))


def donors() -> tuple[Network, Network]:
    segmenter, classifier = Network(1, "single"), Network(2, "single", has_decoder=False)
    for network in (segmenter, classifier):  # running statistics of a training
        network.encoder(10 * image() + 1)
    return segmenter.eval(), classifier.eval()


def image() -> torch.Tensor:
    return torch.randn(2, 1, 9, 8, generator=torch.Generator().manual_seed(3))


def test_with_identity_stitches_the_joint_network_answers_as_the_two_did():
    """F26: exactly, running statistics included."""
    segmenter, classifier = donors()
    joint = Network(5, "identity").eval()
    report = join_pretrained(joint, segmenter.state_dict(), classifier.state_dict())
    assert torch.equal(joint.masks(image()), segmenter.masks(image()))
    assert torch.equal(joint.case(image()), classifier.case(image()))
    stitches = {k for k in joint.state_dict() if is_cross_stitch(k)}
    assert set(report.missing) == stitches
    assert len(stitches) == 3
    assert set(report.loaded) == joint.state_dict().keys() - stitches
    heads = ("segmentation: heads.task:kind.weight", "segmentation: heads.task:kind.bias")
    assert report.unexpected == heads
    assert report.wrong_shape == {}


def test_with_other_stitches_the_two_share_at_once():
    """F25, F26: the switch acts."""
    segmenter, classifier = donors()
    joint = Network(5, "near_identity").eval()
    join_pretrained(joint, segmenter.state_dict(), classifier.state_dict())
    assert not torch.allclose(joint.masks(image()), segmenter.masks(image()))
    assert not torch.allclose(joint.case(image()), classifier.case(image()))


@pytest.mark.parametrize("donor", ["segmentation", "classification"])
def test_a_shared_encoder_comes_from_the_named_donor(donor):
    """F24, F26: that donor's answer is kept exactly, the other encoder is reported."""
    segmenter, classifier = donors()
    joint = Network(5, "single").eval()
    report = join_pretrained(
        joint, segmenter.state_dict(), classifier.state_dict(), shared_encoder_from=donor
    )
    is_segmenters = donor == "segmentation"
    assert torch.equal(joint.masks(image()), segmenter.masks(image())) is is_segmenters
    assert torch.equal(joint.case(image()), classifier.case(image())) is not is_segmenters
    assert torch.equal(joint.decoder.to_logits.weight, segmenter.decoder.to_logits.weight)
    assert torch.equal(joint.heads["task:kind"].weight, classifier.heads["task:kind"].weight)
    other = "classification" if is_segmenters else "segmentation"
    expected = {f"{other}: encoder.{key}" for key in segmenter.encoder.state_dict()}
    heads = {f"segmentation: heads.task:kind.{entry}" for entry in ("weight", "bias")}
    assert set(report.unexpected) == expected | heads
    assert report.missing == ()


def test_a_planned_decoders_second_copy_of_the_encoder_stays_with_its_donor():
    """F26: it must not overwrite the encoder that the classifier gives."""
    segmenter, classifier = donors()
    joint = Network(5, "single")
    joint.decoder.encoder = joint.encoder
    weights = segmenter.state_dict()
    weights |= {f"decoder.{k}": v for k, v in weights.items() if k.startswith("encoder.")}
    report = join_pretrained(
        joint, weights, classifier.state_dict(), shared_encoder_from="classification"
    )
    ours, theirs = joint.encoder.state_dict(), classifier.encoder.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert report.missing == ()
    key = "decoder.encoder.bottleneck.norms.0.weight"
    assert f"segmentation: {key}" in report.unexpected


def test_every_key_that_does_not_match_is_reported():
    """F26: never silently dropped."""
    segmenter, classifier = donors()
    joint = Network(5, "identity")
    weights = {k: v for k, v in segmenter.state_dict().items() if "to_logits" not in k}
    weights |= {
        "encoder.extra": torch.zeros(1),
        "decoder.stages.0.dense.rectifier.weight": torch.ones(2),
    }
    report = join_pretrained(joint, weights, classifier.state_dict())
    assert "segmentation: encoder.extra" in report.unexpected
    assert {"decoder.to_logits.weight", "decoder.to_logits.bias"} <= set(report.missing)
    assert report.wrong_shape == {"decoder.stages.0.dense.rectifier.weight": ((2,), (1,))}
    accounted = {*report.loaded, *report.missing, *report.wrong_shape}
    assert accounted == set(joint.state_dict())


def test_a_donor_of_which_nothing_has_a_place_is_refused():
    segmenter, _ = donors()
    weights = {"layer.weight": torch.zeros(1)}
    joint = Network(5, "identity")
    before = {k: v.clone() for k, v in joint.state_dict().items()}
    with pytest.raises(DataError, match=r"joining, classification weights.*\['layer.weight'\]"):
        join_pretrained(joint, segmenter.state_dict(), weights)
    assert all(torch.equal(v, before[k]) for k, v in joint.state_dict().items())


def test_donors_of_another_size_are_refused():
    joint = Network(5, "identity", filters=4)
    weights = Network(1, "single").state_dict()
    fitting = Network(1, "single", filters=4).state_dict()
    with pytest.raises(
        DataError, match=r"segmentation weights: .*none of which fits.*\(3, 1, 3, 3"
    ):
        join_pretrained(joint, weights, fitting)
    with pytest.raises(DataError, match=r"classification weights: .*none of which fits"):
        join_pretrained(joint, fitting, weights)


@pytest.mark.parametrize(("encoder", "donor"), [("identity", "segmentation"), ("single", None)])
def test_the_shared_encoders_donor_is_named_where_there_is_one(encoder, donor):
    segmenter, classifier = donors()
    with pytest.raises(RequestError, match=r"shared_encoder_from: found (None|'segmentation')"):
        join_pretrained(
            Network(5, encoder),
            segmenter.state_dict(),
            classifier.state_dict(),
            shared_encoder_from=donor,
        )
