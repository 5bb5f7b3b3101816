"""A network that can be worked out by hand, and prepared cases."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from segduet.core.geometry import Geometry
from segduet.core.prepared import Placement, PreparedCase
from segduet.inference.engine import HeadAnswers, WindowAnswers


def lesion_evidence(windows: np.ndarray) -> np.ndarray:
    return (windows[:, 0] > 1).sum(axis=(1, 2, 3)).astype(np.float32)


def looks(windows: np.ndarray) -> np.ndarray:
    return np.where(windows[:, 0] > 1, 3.0, 1.0)


@dataclass
class FakeEngine:
    """Two heads (the image times a ramp from 0, and its negative) and one task.

    Sums are the voxels, the image, the image times a ramp along x, and attention; class logits are
    the two means and minus the second. Neither head 0 nor the ramp's mean is symmetric; evidence
    counts voxels above 1, attention is 1 everywhere and 3 where the image is above 1.
    """

    num_spatial_dims: int = 3
    gain: float = 1.0
    name: str = "fake"
    batch_sizes: list[int] = field(default_factory=list)
    closed: bool = False

    def predict(self, windows, shares) -> WindowAnswers:
        assert windows.dtype == shares.dtype == np.float32
        assert windows.flags.c_contiguous
        assert shares.flags.c_contiguous
        assert shares.shape == (len(windows), 1, *windows.shape[2:])
        self.batch_sizes.append(len(windows))
        image, share = windows[:, 0] * self.gain, shares[:, 0]
        ramps = np.ix_(*(np.linspace(0, 1, n) for n in image.shape[1:]))
        slope = sum(ramps).astype(np.float32)
        parts = [share, share * image, share * image * ramps[2], looks(windows) * share]
        parts = [part.astype(np.float32) for part in parts]
        return WindowAnswers(
            logits=np.stack([image * slope, -image], axis=1),
            sums={"type": np.stack([part.sum(axis=(1, 2, 3)) for part in parts], axis=1)},
            evidence={"type": lesion_evidence(windows)},
        )

    def answer(self, sums) -> HeadAnswers:
        voxels, first, ramp, _ = sums["type"].T
        mean, slope = first / voxels, ramp / voxels
        logits = np.stack([slope, mean, -slope], axis=1).astype(np.float32)
        return HeadAnswers(logits={"type": logits}, features={"type": logits[:, :2]})

    def attend(self, windows, shares, case_sums):
        return {"type": (looks(windows) * shares[:, 0] / case_sums["type"][3]).astype(np.float32)}

    def close(self) -> None:
        self.closed = True


def prepared_case(image: np.ndarray, case: str = "case_1") -> PreparedCase:
    """A case whose native grid is the prepared one."""
    shape = image.shape[1:]
    return PreparedCase(
        case=case,
        image=image.astype(np.float32),
        label_map=None,
        placement=Placement(
            native=Geometry(shape_zyx=shape, spacing_zyx_mm=(1.0, 1.0, 1.0)),
            transpose_forward=(0, 1, 2),
            transpose_backward=(0, 1, 2),
            crop_box=tuple((0, n) for n in shape),
            prepared_shape=shape,
        ),
    )


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def make_engine() -> type[FakeEngine]:
    """The class of `engine`, for other dimensions and gains."""
    return FakeEngine


@pytest.fixture
def prepared():
    """Makes a prepared case from an image (C, Z, Y, X); see `prepared_case`."""
    return prepared_case
