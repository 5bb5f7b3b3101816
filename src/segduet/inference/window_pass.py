"""One network's pass over the windows of a case, slice by slice (F63-F66). K segmentation heads."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np

from segduet.core.errors import RequestError
from segduet.core.finite import is_finite
from segduet.core.prepared import PreparedCase
from segduet.core.tasks import TaskSpec
from segduet.inference.aggregation import Aggregation
from segduet.inference.answering import CaseAnswers, answer_case
from segduet.inference.collecting import CollectedSums, WindowCutter
from segduet.inference.engine import Engine, Member
from segduet.inference.mirroring import (
    MirroredAnswers,
    attend_mirrored,
    mirror_combinations,
    not_finite,
    predict_mirrored,
)
from segduet.inference.settings import PredictionSettings
from segduet.windows.accumulation import SlabBlender
from segduet.windows.shares import WindowShares
from segduet.windows.tiles import (
    Shape,
    Start,
    fitted_window,
    num_voxels_inside,
    padded_to_patch,
    tile_starts,
)


class WindowPass:
    """All windows of a case through one network; `slabs` first, to the end, then `answers`.

    Args:
        engine: runs the network.
        prepared: the case.
        patch_zyx: shape of a window, unless the settings fit windows to the case.
        tasks: what the network answers.
        settings: how to predict.

    Raises:
        RequestError: a mirror axis the network does not have.
    """

    def __init__(
        self,
        engine: Engine,
        prepared: PreparedCase,
        *,
        patch_zyx: Shape,
        tasks: Sequence[TaskSpec],
        settings: PredictionSettings,
    ) -> None:
        self._engine, self._tasks = engine, tasks
        self._settings, self._case = settings, prepared.case
        self._mirrors = mirror_combinations(settings.mirror_axes, engine.num_spatial_dims)
        own_shape = prepared.placement.prepared_shape
        self._patch = patch_zyx
        if settings.window_multiple is not None:
            self._patch = fitted_window(own_shape, patch_zyx, settings.window_multiple)
        shape, self._box = padded_to_patch(own_shape, self._patch)
        self._starts = tile_starts(shape, self._patch, settings.step)
        self._shares = WindowShares.of_tiling(shape, self._patch, settings.step, self._box)
        is_shared = bool(tasks) and settings.aggregation is Aggregation.CASE
        self._cutter = WindowCutter(
            prepared.image, self._patch, self._box, self._shares if is_shared else None
        )
        self._sums = CollectedSums()

    def slabs(self) -> Iterator[np.ndarray]:
        """The blended logits, from the first slice of the case to the last.

        Yields:
            (K, n, Y, X) float32, the next n slices; may be changed, and is only there until the
            next one is asked for. K = 0 for a network that only classifies.

        Raises:
            DataError: the network's answers are not finite.
            RequestError: not enough memory.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="segduet-blend") as threads:
            for slab in self._blended(threads):
                if not all(is_finite(channel) for channel in slab):
                    raise not_finite(self._engine, self._case)
                yield slab

    def _blended(self, threads: Executor) -> Iterator[np.ndarray]:
        blender: SlabBlender | None = None
        for starts in _in_batches(self._starts, self._settings.tile_batch):
            answers = self._predict(starts)
            self._sums.add(answers)
            if blender is None:
                blender = SlabBlender(
                    answers.logits.shape[1],
                    patch=self._patch,
                    box=self._box,
                    shares=self._shares,
                    threads=threads,
                )
            for start, logits in zip(starts, answers.logits, strict=True):
                yield from blender.finished_before(start[0])
                blender.add(logits, start)
        assert blender is not None, "an image has at least one window"
        yield from blender.finished_before(self._box[0].stop)

    def answers(self) -> CaseAnswers:
        """What the heads answer about the case, once all windows have been seen.

        Raises:
            DataError: not to exactly these tasks, or not in finite numbers.
        """
        voxels = [num_voxels_inside(start, self._patch, self._box) for start in self._starts]
        known = self._sums.knowledge(np.array(voxels))
        said = answer_case(self._engine, known, self._tasks, self._settings.aggregation)
        if not self._settings.keep_attention:
            return said
        attention = self._attention(known.case_sums)
        return CaseAnswers(
            probabilities=said.probabilities,
            evidence=said.evidence,
            features=said.features,
            attention=attention,
        )

    def _attention(self, case_sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        attention: dict[str, np.ndarray] = {}
        for starts in _in_batches(self._starts, self._settings.tile_batch):
            windows = self._cutter.windows(starts)
            maps = attend_mirrored(self._engine, windows, self._mirrors, case_sums)
            self._cutter.put_together(attention, starts, maps)
        return attention

    def _predict(self, starts: Sequence[Start]) -> MirroredAnswers:
        try:
            windows = self._cutter.windows(starts)
            return predict_mirrored(self._engine, windows, self._mirrors, where=self._case)
        except MemoryError as error:
            raise RequestError(
                f"case {self._case!r}",
                found=f"not enough memory for {len(starts)} windows of {self._patch} voxels",
                expected="memory for one batch of windows and their answers",
                remedy="Use a smaller tile batch.",
            ) from error


def window_passes(
    members: Sequence[Member],
    prepared: PreparedCase,
    *,
    patch_zyx: Shape,
    settings: PredictionSettings,
) -> list[WindowPass]:
    """The passes of all networks of an ensemble; their slabs are the same slices in step."""
    return [
        WindowPass(m.engine, prepared, patch_zyx=patch_zyx, tasks=m.tasks, settings=settings)
        for m in members
    ]


def put_together(slabs: Iterable[np.ndarray], shape_zyx: Shape) -> np.ndarray:
    """Slabs (K, n, Y, X), from the first slice to the last, as one array (K, Z, Y, X)."""
    whole: np.ndarray | None = None
    first = 0
    for slab in slabs:
        if whole is None:
            whole = np.empty((len(slab), *shape_zyx), np.float32)
        whole[:, first : first + slab.shape[1]] = slab
        first += slab.shape[1]
    assert whole is not None, "an image has at least one window"
    return whole


def _in_batches(starts: Sequence[Start], size: int) -> Iterator[list[Start]]:
    remaining = iter(starts)
    while batch := list(itertools.islice(remaining, size)):
        yield batch
