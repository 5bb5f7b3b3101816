import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, conv2d, linear, max_pool2d, relu

from segduet.networks.resnet import ResNet18Encoder
from segduet.networks.warm_start import load_matching

WIDTHS = {1: (64, 64), 2: (64, 128), 3: (128, 256), 4: (256, 512)}


def norm_names(name: str) -> list[str]:
    entries = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return [f"{name}.{entry}" for entry in entries]


def published_names() -> list[str]:
    """State-dict names of torchvision's resnet18, without `fc`."""
    names = ["conv1.weight", *norm_names("bn1")]
    for layer in WIDTHS:
        for block in (0, 1):
            for step in (1, 2):
                stem = f"layer{layer}.{block}"
                names += [f"{stem}.conv{step}.weight", *norm_names(f"{stem}.bn{step}")]
            if layer > 1 and block == 0:
                names += [f"{stem}.downsample.0.weight", *norm_names(f"{stem}.downsample.1")]
    return names


def written_out(p: dict[str, torch.Tensor], image: torch.Tensor) -> list[torch.Tensor]:
    """ResNet-18 by functions: features of the stem and of every layer."""

    def norm(x, name):
        return batch_norm(
            x, *(p[f"{name}.{e}"] for e in ("running_mean", "running_var", "weight", "bias"))
        )

    def block(x, name, stride):
        y = relu(
            norm(conv2d(x, p[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1")
        )
        y = norm(conv2d(y, p[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
        if f"{name}.downsample.0.weight" in p:
            x = conv2d(x, p[f"{name}.downsample.0.weight"], stride=stride)
            x = norm(x, f"{name}.downsample.1")
        return relu(x + y)

    features = [relu(norm(conv2d(image, p["conv1.weight"], stride=2, padding=3), "bn1"))]
    x = max_pool2d(features[0], 3, 2, 1)
    for layer in WIDTHS:
        x = block(block(x, f"layer{layer}.0", 1 if layer == 1 else 2), f"layer{layer}.1", 1)
        features.append(x)
    return features


@pytest.fixture(scope="module")
def encoder() -> ResNet18Encoder:
    torch.manual_seed(0)
    return ResNet18Encoder(3)


def test_count_is_the_published_one(encoder):
    """F23: 11,689,512 with three channels and a linear layer to 1000 classes."""
    head = nn.Linear(512, 1000)
    parameters = [*encoder.parameters(), *head.parameters()]
    assert sum(p.numel() for p in parameters) == 11_689_512


def test_names_are_torchvisions(encoder):
    """F23."""
    assert list(encoder.state_dict()) == published_names()


@pytest.mark.parametrize("size", [(64, 64), (45, 70)])
def test_equals_a_resnet_written_out_on_copied_weights(size):
    """F23: at every layer, and at the logits; any size."""
    torch.manual_seed(1)
    encoder = ResNet18Encoder(3)
    for module in encoder.modules():  # running statistics that are not zero and one
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    image, last = torch.randn(2, 3, *size), nn.Linear(512, 5)
    expected = written_out(encoder.state_dict(), image)
    features = encoder.eval()(image)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)
    logits = linear(expected[-1].mean((2, 3)), last.weight, last.bias)
    torch.testing.assert_close(last(features[-1].mean((2, 3))), logits, rtol=1e-4, atol=1e-4)


def test_seven_channels_at_400_pixels_run():
    """F23: the fourth seed's nerve images, on which its own ResNet cannot run."""
    torch.manual_seed(0)
    encoder = ResNet18Encoder(7).eval()
    with torch.no_grad():
        features = encoder(torch.randn(1, 7, 400, 400))
    assert [f.shape[2] for f in features] == [200, 100, 50, 25, 13]
    assert [f.shape[1] for f in features] == encoder.output_channels
    assert all(torch.isfinite(f).all() for f in features)
    assert features[-1].std() > 0


def test_published_weights_load_and_what_does_not_fit_is_reported(encoder):
    """F23, F26: their last layer is the head's business; seven channels need another stem."""
    published = {k: v.clone() for k, v in encoder.state_dict().items()}
    published |= {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    torch.manual_seed(9)
    same, other = ResNet18Encoder(3), ResNet18Encoder(7)
    report = load_matching(same, published)
    assert report.unexpected == ("fc.weight", "fc.bias")
    assert (report.missing, report.wrong_shape) == ((), {})
    assert all(torch.equal(v, published[k]) for k, v in same.state_dict().items())
    report = load_matching(other, published)
    assert report.wrong_shape == {"conv1.weight": ((64, 3, 7, 7), (64, 7, 7, 7))}
