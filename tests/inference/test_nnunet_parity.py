"""F63, F66, B11: with the same weights the sliding window gives nnU-Net's own logits and masks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from scipy.ndimage import gaussian_filter
from torch import nn

from segduet.inference.engines.torch_engine import TorchEngine
from segduet.inference.predictor import predict_prepared
from segduet.inference.settings import PredictionSettings
from segduet.networks.outputs import TaskOutputs
from segduet.windows.blending import gaussian_weights
from segduet.windows.tiles import padded_to_patch, region_at, tile_starts

_CASES = {
    "3D": (3, (16, 16, 16), (18, 27, 21)),
    "3D, smaller than the patch": (3, (16, 16, 16), (9, 22, 11)),
    "2D": (2, (16, 24), (4, 37, 40)),
}


class _Wrapped(nn.Module):
    """A stock network in our record, without tasks."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, x, shares):
        return TaskOutputs(segmentation=(self.unet(x),), case_logits={}, evidence={})


def _unet(dims):
    torch.manual_seed(1)
    conv, norm = (nn.Conv2d, nn.InstanceNorm2d) if dims == 2 else (nn.Conv3d, nn.InstanceNorm3d)
    return PlainConvUNet(
        1, 3, (4, 8, 8), conv, 3, (1, 2, 2), 1, 3, 1, conv_bias=True, norm_op=norm,
        norm_op_kwargs={"affine": True}, nonlin=nn.LeakyReLU, deep_supervision=False,
    ).eval()  # fmt: skip


def _image(shape):
    noise = np.random.default_rng(2).normal(size=shape)
    smooth = gaussian_filter(noise, 2.0)
    return (smooth / smooth.std())[None].astype(np.float32)


def _nnunet_logits(unet, image, patch, axes):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"), verbose=False, allow_tqdm=False)
    predictor.network = unet
    predictor.allowed_mirroring_axes = axes
    predictor.configuration_manager = SimpleNamespace(patch_size=list(patch))
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=3)
    return predictor.predict_sliding_window_return_logits(torch.from_numpy(image)).float().numpy()


def _our_logits(unet, case, patch, axes):
    patch_zyx = (1, *patch)[-3:]
    return predict_prepared(
        TorchEngine(_Wrapped(unet), num_spatial_dims=len(patch)),
        case,
        patch_zyx=patch_zyx,
        tasks=(),
        settings=PredictionSettings(mirror_axes=axes),
    ).logits


@pytest.fixture(params=_CASES)
def setup(request):
    dims, patch, shape = _CASES[request.param]
    return _unet(dims), _image(shape), patch, tuple(range(dims))


@pytest.mark.parametrize("mirrored", [False, True])
def test_logits_equal_those_of_nnunet_when_it_sums_in_float32(
    setup, mirrored, prepared, monkeypatch
):
    """nnU-Net blends in float16; with that one type exchanged the two agree to rounding."""
    from nnunetv2.inference import predict_from_raw_data as upstream

    unet, image, patch, axes = setup
    gaussian = upstream.compute_gaussian
    monkeypatch.setattr(torch, "half", torch.float32)
    monkeypatch.setattr(
        upstream, "compute_gaussian", lambda *a, **k: gaussian(*a, **k, dtype=torch.float32)
    )
    expected = _nnunet_logits(unet, image, patch, axes if mirrored else None)
    logits = _our_logits(unet, prepared(image), patch, axes if mirrored else ())
    assert expected.std() > 0.05
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def _weight_sums(shape, patch_zyx):
    padded_shape, box = padded_to_patch(shape, patch_zyx)
    sums = np.zeros(padded_shape)
    for start in tile_starts(sums.shape, patch_zyx):
        sums[region_at(start, patch_zyx)] += gaussian_weights(patch_zyx)
    return sums[box]


@pytest.mark.parametrize("mirrored", [False, True])
def test_logits_and_masks_equal_those_of_stock_nnunet(setup, mirrored, prepared):
    """B11: stock nnU-Net on a CPU, as it is.

    Its float16 sums have steps of 6e-8, so that in the outermost voxels of a volume, where weights
    are of that size, its logits are noise (few voxels of a real volume, a tenth of this tiny one).
    Without them 99.9 % of the labels are equal and the logits within 1e-2; with them 99.5 %.
    """
    unet, image, patch, axes = setup
    expected = _nnunet_logits(unet, image, patch, axes if mirrored else None)
    logits = _our_logits(unet, prepared(image), patch, axes if mirrored else ())
    is_resolved = _weight_sums(image.shape[1:], (1, *patch)[-3:]) > 1e-4
    is_same = logits.argmax(0) == expected.argmax(0)
    assert is_resolved.mean() > 0.85
    np.testing.assert_allclose(logits[:, is_resolved], expected[:, is_resolved], atol=1e-2)
    assert is_same[is_resolved].mean() >= 0.999
    assert is_same.mean() >= 0.995
    assert 0.01 < (logits.argmax(0) > 0).mean() < 0.99
