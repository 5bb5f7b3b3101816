"""What every engine must do, against torch in fp32; a new one joins by a line in `ENGINES`.

Requirement ids: F71 (a converted network equals torch), B12, C3.17 of ecosystem.md (logits within
1e-3, argmax differs on at most 1e-4 of the voxels).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from segduet.compression.onnx_conversion import convert_to_onnx
from segduet.compression.openvino_conversion import convert_to_openvino
from segduet.core.errors import RequestError
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.inference.engine import Engine, WindowAnswers
from segduet.inference.engines.onnx_engine import open_onnx
from segduet.inference.engines.openvino_engine import open_openvino
from segduet.inference.engines.torch_engine import TorchEngine
from segduet.networks.config import HeadConfig
from segduet.networks.joint import JointNetwork, build_joint_network
from tiny_plans import tiny_configuration

MOST_LOGIT_DIFFERENCE = 1e-3
MOST_CHANGED_VOXELS = 1e-4

LABELS = LabelScheme.from_dataset_json(
    {"background": 0, "organ": 1, "lesion": 2}, None, where="test"
)
TASKS = (
    TaskSpec(name="type", classes=("a", "b", "c"), evidence_region="lesion"),
    TaskSpec(name="grade.v2", classes=("low", "high"), kind="binary"),
)


@dataclass(frozen=True)
class Subject:
    """A network, what it answers, and the window it was planned for."""

    network: JointNetwork
    tasks: tuple[TaskSpec, ...]
    patch: tuple[int, ...]

    @property
    def dims(self) -> int:
        return len(self.patch)

    def windows(self, batch: int = 2, times: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Windows and shares, `times` as large as the patch along each axis."""
        spatial = [1] * (3 - self.dims) + [n * times for n in self.patch]
        generator = np.random.default_rng(batch)
        image = generator.normal(size=(batch, 2, *spatial)).astype(np.float32)
        return image, generator.random((batch, 1, *spatial), dtype=np.float32)


def with_torch(subject: Subject, folder: Path) -> Engine:
    del folder
    return TorchEngine(subject.network, num_spatial_dims=subject.dims)


def with_openvino(subject: Subject, folder: Path) -> Engine:
    converted = convert_to_openvino(
        subject.network, folder, tasks=subject.tasks, num_channels=2, patch_size=subject.patch
    )
    return open_openvino(folder, converted, precision="fp32")


def with_onnx(subject: Subject, folder: Path) -> Engine:
    converted = convert_to_onnx(
        subject.network, folder, tasks=subject.tasks, num_channels=2, patch_size=subject.patch
    )
    return open_onnx(folder, converted, provider="cpu", precision="fp32")


ENGINES: dict[str, Callable[[Subject, Path], Engine]] = {
    "torch": with_torch,
    "openvino": with_openvino,
    "onnx": with_onnx,
}


def subject(dims: int, *, tasks: tuple[TaskSpec, ...] = TASKS, with_masks: bool = True) -> Subject:
    torch.manual_seed(0)
    patch = (12, 8) if dims == 2 else (4, 12, 8)
    network = build_joint_network(
        configuration=tiny_configuration(patch),
        num_channels=2,
        labels=LABELS,
        tasks=tasks,
        head=HeadConfig(kind="mask_pooled" if with_masks else "gem", hidden=(8,)),
        deep_supervision=False,
        with_masks=with_masks,
    ).eval()
    if network.decoder is not None:
        with torch.no_grad():
            network.decoder.seg_layers[-1].weight *= 10  # answers that are sure of themselves
    return Subject(network, tasks, patch)


SUBJECTS = {
    "2d": lambda: subject(2),
    "3d": lambda: subject(3),
    "no tasks": lambda: subject(3, tasks=()),
    "only classifies": lambda: subject(2, with_masks=False),
}


@dataclass(frozen=True)
class Pair:
    """An engine under test, and torch."""

    engine: Engine
    torch: Engine
    subject: Subject


@pytest.fixture(scope="module", params=SUBJECTS)
def subject_under_test(request: pytest.FixtureRequest) -> Subject:
    return SUBJECTS[request.param]()


@pytest.fixture(scope="module", params=ENGINES)
def pair(request, subject_under_test, tmp_path_factory) -> Pair:
    folder = tmp_path_factory.mktemp("engine")
    return Pair(
        engine=ENGINES[request.param](subject_under_test, folder),
        torch=with_torch(subject_under_test, folder),
        subject=subject_under_test,
    )


def assert_close(found: np.ndarray, wanted: np.ndarray, what: str) -> None:
    """Sums grow with the window; they are measured by their largest."""
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    np.testing.assert_allclose(found / scale, wanted / scale, atol=1e-4, err_msg=what)
    assert found.dtype == np.float32, what


def assert_same_answers(found: WindowAnswers, wanted: WindowAnswers) -> None:
    assert found.logits.shape == wanted.logits.shape
    assert found.logits.dtype == np.float32
    assert np.abs(found.logits - wanted.logits).max(initial=0) <= MOST_LOGIT_DIFFERENCE
    if found.logits.size:
        changed = found.logits.argmax(1) != wanted.logits.argmax(1)
        assert changed.mean() <= MOST_CHANGED_VOXELS
    assert list(found.sums) == list(wanted.sums)
    for task, sums in wanted.sums.items():
        assert_close(found.sums[task], sums, task)
        # a voxel may lie on either side of one half
        np.testing.assert_allclose(found.evidence[task], wanted.evidence[task], atol=1)


@pytest.mark.parametrize(("batch", "times"), [(1, 1), (3, 1), (2, 2)])
def test_windows_of_any_number_and_size_are_answered_as_by_torch(pair, batch, times):
    windows, shares = pair.subject.windows(batch, times)
    found, wanted = (e.predict(windows, shares) for e in (pair.engine, pair.torch))
    assert_same_answers(found, wanted)
    if pair.subject.network.decoder is not None:
        assert len(np.unique(wanted.logits.argmax(1))) == 3, "a mask that could not differ"


def test_sums_are_answered_as_by_torch(pair):
    """Added up over windows in float64, as a case's are, or not."""
    sums = pair.torch.predict(*pair.subject.windows(3)).sums
    for given in (sums, {task: v.astype(np.float64).sum(0)[None] for task, v in sums.items()}):
        found, wanted = pair.engine.answer(given), pair.torch.answer(given)
        assert list(found.logits) == [task.name for task in pair.subject.tasks]
        for task in wanted.logits:
            assert_close(found.logits[task], wanted.logits[task], task)
            assert_close(found.features[task], wanted.features[task], task)


def test_shares_weigh_the_sums_alone(pair):
    windows, shares = pair.subject.windows()
    full, half = (pair.engine.predict(windows, s) for s in (shares, shares / 2))
    np.testing.assert_allclose(half.logits, full.logits, atol=1e-6)
    for task, sums in full.sums.items():
        np.testing.assert_allclose(half.sums[task], sums / 2, rtol=1e-4, atol=1e-5)


def test_answers_are_not_overwritten_by_the_next_ones(pair):
    windows, shares = pair.subject.windows()
    first = pair.engine.predict(windows, shares)
    answered = pair.engine.answer(first.sums)
    arrays = [first.logits, *first.sums.values(), *first.evidence.values()]
    arrays += [*answered.logits.values(), *answered.features.values()]
    copies = [array.copy() for array in arrays]
    second = pair.engine.predict(windows[::-1].copy() * 3, shares)
    pair.engine.answer({task: v * 2 for task, v in second.sums.items()})
    assert all(np.array_equal(a, b) for a, b in zip(arrays, copies, strict=True))


def test_windows_are_neither_kept_nor_changed(pair):
    windows, shares = pair.subject.windows()
    given = windows.copy(), shares.copy()
    first = pair.engine.predict(windows, shares)
    assert np.array_equal(windows, given[0])
    assert np.array_equal(shares, given[1])
    kept = first.logits.copy()
    windows[:], shares[:] = 0, 0
    assert np.array_equal(first.logits, kept)
    assert_same_answers(pair.engine.predict(*given), first)


def test_windows_with_other_channels_are_refused(pair):
    windows, shares = pair.subject.windows()
    with pytest.raises((RequestError, RuntimeError), match=r"channels|shape"):
        pair.engine.predict(windows[:, :1].copy(), shares)


def test_attention_is_given_by_torch_and_refused_by_others_with_the_remedy(pair):
    windows, shares = pair.subject.windows()
    case_sums = {t: v.sum(0) for t, v in pair.torch.predict(windows, shares).sums.items()}
    if pair.engine.name == pair.torch.name:
        maps = pair.engine.attend(windows, shares, case_sums)
        assert all(m.shape == (len(windows), *windows.shape[2:]) for m in maps.values())
    else:
        with pytest.raises(RequestError, match="--engine torch"):
            pair.engine.attend(windows, shares, case_sums)


def test_names_and_dimensions(pair):
    runtime, device, precision = pair.engine.name.split()
    assert (device, precision) == ("cpu", "fp32")
    assert runtime in ENGINES
    assert pair.engine.num_spatial_dims == pair.subject.dims


@pytest.mark.parametrize("engine", ENGINES)
def test_closed_engine_answers_no_more(engine, tmp_path):
    one = subject(2, tasks=())
    closed = ENGINES[engine](one, tmp_path)
    closed.close()
    with pytest.raises(AssertionError, match="closed"):
        closed.predict(*one.windows())
