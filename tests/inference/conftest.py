"""A network that can be worked out by hand, and prepared cases."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from segduet.core.geometry import Geometry
from segduet.core.prepared import Placement, PreparedCase
from segduet.inference.engine import WindowAnswers


def lesion_evidence(windows: np.ndarray) -> np.ndarray:
    return (windows[:, 0] > 1).sum(axis=(1, 2, 3)).astype(np.float32)


@dataclass
class FakeEngine:
    """Two heads (the image times a ramp from 0, and its negative) and one task.

    Neither head 0 nor the class logits (mean of the first x plane, mean of all) are symmetric;
    evidence counts voxels above 1.
    """

    num_spatial_dims: int = 3
    gain: float = 1.0
    name: str = "fake"
    batch_sizes: list[int] = field(default_factory=list)
    closed: bool = False

    def predict(self, windows: np.ndarray) -> WindowAnswers:
        assert windows.dtype == np.float32
        assert windows.flags.c_contiguous
        self.batch_sizes.append(len(windows))
        image = windows[:, 0] * self.gain
        ramps = np.ix_(*(np.linspace(0, 1, n) for n in image.shape[1:]))
        slope = sum(ramps).astype(np.float32)
        first, mean = image[..., 0].mean(axis=(1, 2)), image.mean(axis=(1, 2, 3))
        return WindowAnswers(
            logits=np.stack([image * slope, -image], axis=1),
            case_logits={"type": np.stack([first, mean, -first], axis=1)},
            evidence={"type": lesion_evidence(windows)},
        )

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
