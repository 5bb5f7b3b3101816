"""F72: windows are fitted to cases of about the patch's size, instead of padding or tiling them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.inference.engines.torch_engine import TorchEngine
from segduet.inference.predictor import predict_prepared
from segduet.inference.settings import PredictionSettings
from segduet.networks.config import HeadConfig
from segduet.networks.joint import JointNetwork, build_joint_network
from segduet.windows import tiles
from tiny_plans import tiny_configuration

TASKS = (TaskSpec(name="type", classes=("a", "b", "c")),)
LABELS = LabelScheme.from_dataset_json({"background": 0, "organ": 1}, None, where="test")
PATCH, MULTIPLE = (16, 24, 24), (4, 4, 4)


def image_of(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)


@pytest.fixture
def recording(make_engine):
    """An engine that keeps the shapes of all windows it sees."""

    class Recording(make_engine):
        def __init__(self) -> None:
            super().__init__()
            self.shapes: list[tuple[int, ...]] = []

        def predict(self, windows, shares):
            self.shapes += [windows.shape[2:]] * len(windows)
            return super().predict(windows, shares)

        @property
        def num_voxels(self) -> int:
            return sum(int(np.prod(shape)) for shape in self.shapes)

    return Recording


def answered(engine, case, patch=PATCH, tasks=TASKS, **changes):
    settings = PredictionSettings(**changes)
    return predict_prepared(engine, case, patch_zyx=patch, tasks=tasks, settings=settings)


@pytest.mark.parametrize(
    ("shape", "window", "num_windows"),
    [
        ((16, 24, 17), (16, 24, 20), 1),
        ((9, 13, 20), (16, 24, 20), 1),  # (12, 16, 20) has fewer than 3/4 of the patch's voxels
        ((3, 24, 24), (12, 24, 24), 1),  # and so has (4, 24, 24)
        ((15, 23, 23), PATCH, 1),
        ((9, 36, 24), (12, 24, 24), 2),  # only z is fitted, y is tiled as ever
    ],
)
def test_fewer_voxels_go_through_the_network(recording, prepared, shape, window, num_windows):
    """Windows worked out by hand; the answer has the shape of the case."""
    fitted, padded = recording(), recording()
    case = prepared(image_of(shape))
    answer = answered(fitted, case, window_multiple=MULTIPLE)
    whole = answered(padded, case)
    assert fitted.shapes == [window] * num_windows
    assert padded.shapes == [PATCH] * num_windows
    assert answer.logits.shape == whole.logits.shape == (2, *shape)
    assert (fitted.num_voxels < padded.num_voxels) == (window != PATCH)
    # the second head answers voxel by voxel: every voxel is where it was
    np.testing.assert_allclose(answer.logits[1], -case.image[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "window", "tiles"),
    [((16, 24, 26), (16, 24, 28), 2), ((15, 27, 20), (16, 28, 20), 2), ((18, 24, 24), PATCH, 2)],
)
def test_one_window_holds_a_case_a_little_longer_than_the_patch(
    recording, prepared, shape, window, tiles
):
    """Instead of two along that axis; more than a fifth longer is tiled as ever."""
    fitted, tiled = recording(), recording()
    case = prepared(image_of(shape))
    answer = answered(fitted, case, window_multiple=MULTIPLE)
    answered(tiled, case)
    assert tiled.shapes == [PATCH] * tiles
    assert fitted.shapes == ([window] if window != PATCH else tiled.shapes)
    np.testing.assert_allclose(answer.logits[1], -case.image[0], rtol=1e-6)


@pytest.mark.parametrize("shape", [PATCH, (16, 36, 41), (40, 24, 35)])
@pytest.mark.parametrize("axes", [(), (0, 2)])
def test_nothing_changes_for_cases_of_the_patchs_size_or_far_larger(
    make_engine, prepared, shape, axes
):
    """Bit by bit, both answers; the fake's answers depend on where in a window a voxel lies."""
    case = prepared(image_of(shape))
    fitted, padded = (
        answered(make_engine(), case, mirror_axes=axes, window_multiple=multiple)
        for multiple in (MULTIPLE, None)
    )
    np.testing.assert_array_equal(fitted.logits, padded.logits)
    np.testing.assert_array_equal(
        fitted.said.probabilities["type"], padded.said.probabilities["type"]
    )


def test_mirroring_turns_with_a_fitted_window(prepared):
    """A case and its mirror image get mirrored answers; the fitted window is no cube."""
    engine, image = TorchEngine(build(), num_spatial_dims=3), image_of((9, 13, 18))
    settings = {"mirror_axes": (0, 2), "window_multiple": MULTIPLE, "tasks": ()}
    # as much padding before as behind along the mirrored axes: otherwise they do not match
    image = np.pad(image, ((0, 0), (0, 1), (0, 0), (0, 2)))
    once = answered(engine, prepared(image), **settings)
    turned = answered(engine, prepared(image[:, ::-1, :, ::-1].copy()), **settings)
    np.testing.assert_allclose(turned.logits[:, ::-1, :, ::-1], once.logits, atol=1e-4)
    assert np.abs(once.logits[:, ::-1] - once.logits).max() > 1e-2


def build(patch: Sequence[int] = PATCH, features: Sequence[int] = (4, 6, 8)) -> JointNetwork:
    torch.manual_seed(0)
    return build_joint_network(
        configuration=tiny_configuration(patch, features=features),
        num_channels=1,
        labels=LABELS,
        tasks=(),
        head=HeadConfig(),
        deep_supervision=False,
    ).eval()


SMALL_PATCH, SMALL_MULTIPLE = (8, 16, 16), (2, 2, 2)


def phantom(
    rng: np.random.Generator, shape: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A bright ellipsoid in noise that holds half as bright voxels; no larger than the patch."""
    shape = rng.integers((4, 9, 9), np.array(SMALL_PATCH) + 1) if shape is None else shape
    radii = rng.uniform((1.5, 3.0, 3.0), (2.5, 4.5, 4.5))
    grid = np.indices(shape).astype(np.float32)
    centre = [rng.uniform(0.4, 0.6) * n for n in shape]
    organ = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)) <= 1
    image = rng.normal(scale=0.5, size=shape) + 2 * organ + (rng.random(shape) < 0.1)
    return image.astype(np.float32)[None], organ


def padded_to_the_patch(array: np.ndarray) -> torch.Tensor:
    missing = [p - n for p, n in zip(SMALL_PATCH, array.shape[-3:], strict=True)]
    widths = [(m // 2, m - m // 2) for m in missing]
    return torch.from_numpy(np.pad(array, [(0, 0)] * (array.ndim - 3) + widths))


@pytest.fixture(scope="module")
def trained() -> JointNetwork:
    """Trained as nnU-Net trains on small images: padded up to the patch with zeros."""
    network, rng = build(SMALL_PATCH, (6, 8)).train(), np.random.default_rng(2)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(60):
        cases = [phantom(rng) for _ in range(2)]
        image = torch.stack([padded_to_the_patch(i) for i, _ in cases])
        organ = torch.stack([padded_to_the_patch(o) for _, o in cases]).long()
        loss = functional.cross_entropy(network(image).segmentation[0], organ)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def mean_dsc(
    engine: TorchEngine,
    prepared: Callable[..., Any],
    shape: Sequence[int] | None = None,
    **changes: Any,
) -> float:
    """Over 16 phantoms, from a quarter of the patch's voxels to all of them, or of one shape."""
    rng, scores = np.random.default_rng(2), []
    for _ in range(16):
        image, organ = phantom(rng, shape)
        answer = answered(engine, prepared(image), SMALL_PATCH, tasks=(), **changes)
        mask = answer.logits.argmax(0).astype(bool)
        scores.append(2 * (mask & organ).sum() / (mask.sum() + organ.sum()))
    return float(np.mean(scores))


def test_a_trained_network_loses_little(trained, prepared, monkeypatch):
    """At most 0.02 of the mean DSC with padding; far more if windows could shrink without limit.

    InstanceNorm's statistics depend on the window, so the masks are not the same.
    """
    engine = TorchEngine(trained, num_spatial_dims=3)
    padded = mean_dsc(engine, prepared)
    fitted = mean_dsc(engine, prepared, window_multiple=SMALL_MULTIPLE)
    monkeypatch.setattr(tiles, "_LEAST_SHARE", 0.0)
    tight = mean_dsc(engine, prepared, window_multiple=SMALL_MULTIPLE)
    assert padded > 0.9, "the network learned too little to lose some"
    assert padded - 0.02 < fitted != padded
    assert tight < padded - 0.03


@pytest.mark.parametrize("shape", [(8, 18, 16), (8, 16, 17)])
def test_a_trained_network_loses_little_in_longer_windows(trained, prepared, shape):
    """At most 0.02 of the mean DSC with two windows; the masks are not the same."""
    engine = TorchEngine(trained, num_spatial_dims=3)
    tiled = mean_dsc(engine, prepared, shape)
    fitted = mean_dsc(engine, prepared, shape, window_multiple=SMALL_MULTIPLE)
    assert tiled > 0.9, "the network learned too little to lose some"
    assert tiled - 0.02 < fitted != tiled
