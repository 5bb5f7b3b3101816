"""Patches with their targets; sample i of a training is the same on any number of workers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from segduet.core.errors import DataError, RequestError, SegduetError
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.nnunet.stage_predictions import StagePredictions
from segduet.nnunet.store import PreparedStore, StoredCase
from segduet.preparation.cascade import foreground_values
from segduet.training.augmentation import AugmentationPlan, build_augmentation, seeded_globals
from segduet.training.case_order import BalancedOrder, balanced_task, shuffled_case
from segduet.training.config import SamplingConfig
from segduet.training.processes import ONE_PROCESS, Processes
from segduet.windows.sampling import choose_patch_start, read_patch, sample_generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Patches of one step.

    Attributes:
        cases: case id of each patch.
        image: (B, C, *spatial) float32.
        label_map: (B, 1, *spatial) int16; -1 outside the image, and all over without a mask.
        has_mask: (B,) bool, False where nobody drew a mask; the segmentation loss is masked.
        targets: task -> (B, T) float32, see `core.answers.encode_target`; NaN where unknown.
        evidence: task -> (B,) float32 in [0, 1], how much of what the class label is about lies in
            the patch.
    """

    cases: tuple[str, ...]
    image: torch.Tensor
    label_map: torch.Tensor
    has_mask: torch.Tensor
    targets: Mapping[str, torch.Tensor]
    evidence: Mapping[str, torch.Tensor]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(
            cases=self.cases,
            image=self.image.to(device, non_blocking=True),
            label_map=self.label_map.to(device, non_blocking=True),
            has_mask=self.has_mask.to(device),
            targets={k: v.to(device) for k, v in self.targets.items()},
            evidence={k: v.to(device) for k, v in self.evidence.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSource:
    """Where patches come from: cases of a store and what is known about them.

    Attributes:
        store: prepared cases.
        cases: ids to draw from, at least one.
        targets: task -> (len(cases), T) float32, rows in the order of `cases`, NaN where unknown.
        tasks: the case-level tasks.
        labels: the label scheme of the masks.
        seed: every sample is a function of (seed, index).
        previous: label maps of the stage before, that become channels of the image; None outside a
            cascade's second stage.
    """

    store: PreparedStore
    cases: tuple[str, ...]
    targets: Mapping[str, np.ndarray]
    tasks: tuple[TaskSpec, ...]
    labels: LabelScheme
    seed: int
    previous: StagePredictions | None = None


def require_masks(source: PatchSource) -> None:
    """Checks that there is a mask to learn the segmentation from (B03).

    Raises:
        DataError: no case of the source has one.
    """
    if not any(source.store.open(case).has_label_map for case in source.cases):
        raise DataError(
            f"{len(source.cases)} training cases in {source.store.folder}",
            found="not a single mask",
            expected="at least one case with a mask to learn the segmentation from",
            remedy="Choose a fold that has one among its training cases, or train the classes only "
            "(segmentation weight 0).",
        )


class PatchDataset(Dataset[dict[str, Any]]):
    """Sample i: the i-th case of an endless sequence (see `case_order`), a patch of it, augmented.

    Evidence of a patch for a task is the share of the case's target region that the augmented
    patch holds (1 at most); where the case has none of that region, or no mask, it is the share of
    the case's image that the patch covers.

    Raises:
        RequestError: the sampling names a region or a task that does not exist, or cannot tell
            whose classes to balance.
        DataError: classes are to be balanced, and none is known.
    """

    def __init__(
        self, source: PatchSource, augmentation: AugmentationPlan, sampling: SamplingConfig
    ) -> None:
        self._source = source
        self._plan = augmentation
        self._sampling = sampling
        self._transform = build_augmentation(
            augmentation,
            sampling.augmentation,
            fed_values=foreground_values(source.labels) if source.previous else (),
        )
        self._balanced = _balanced_order(source, sampling)
        _require_region(source.labels, sampling.foreground_region)
        self._row = {case: row for row, case in enumerate(source.cases)}
        self._open: dict[str, StoredCase] = {}
        self._open_previous: dict[str, Any] = {}

    def __getitem__(self, index: int) -> dict[str, Any]:
        source = self._source
        case = self._case(index)
        rng = sample_generator(source.seed, 1, index)
        stored = self._stored(case)
        image, label_map, coverage = self._read(stored, rng)
        tensors = {"image": torch.from_numpy(image), "segmentation": torch.from_numpy(label_map)}
        with seeded_globals(rng):
            tensors = self._transform(**tensors)
        return {
            "case": case,
            "image": tensors["image"].float().contiguous(),
            "label_map": tensors["segmentation"].contiguous(),
            "has_mask": stored.has_label_map,
            "targets": {task: rows[self._row[case]] for task, rows in source.targets.items()},
            "evidence": self._evidence(stored, tensors["segmentation"], coverage),
        }

    @property
    def tasks(self) -> tuple[TaskSpec, ...]:
        """The case-level tasks."""
        return self._source.tasks

    def _case(self, index: int) -> str:
        if self._balanced:
            return self._balanced.case(index)
        return shuffled_case(self._source.cases, self._source.seed, index)

    def _stored(self, case: str) -> StoredCase:
        if case not in self._open:
            self._open[case] = self._source.store.open(case)
        return self._open[case]

    def _label_maps(self, stored: StoredCase) -> list[Any]:
        """The reference, and what the stage before made of the case."""
        previous, case = self._source.previous, stored.case
        if previous is None:
            return [stored.label_map]
        if case not in self._open_previous:
            shape = stored.placement.prepared_shape
            self._open_previous[case] = previous.open(case, shape)
        return [stored.label_map, self._open_previous[case]]

    def _read(
        self, stored: StoredCase, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, float]:
        patch, read = _as_zyx(self._plan.patch_size), _as_zyx(self._plan.read_size)
        shape = stored.placement.prepared_shape
        start = choose_patch_start(
            rng,
            shape=shape,
            patch=patch,
            locations=stored.locations,
            foreground_share=self._sampling.foreground_share,
            foreground_region=self._sampling.foreground_region,
        )
        outer = tuple(s - (r - p) // 2 for s, r, p in zip(start, read, patch, strict=True))
        image = read_patch(stored.image, outer, read, pad_value=0)
        maps = [read_patch(m, outer, read, pad_value=-1) for m in self._label_maps(stored)]
        label_map = np.stack([m.reshape(read) for m in maps])
        if len(self._plan.patch_size) == 2:
            image, label_map = image[:, 0], label_map[:, 0]
        return image, label_map, _coverage(start, patch, shape)

    def _evidence(
        self, stored: StoredCase, label_map: torch.Tensor, coverage: float
    ) -> dict[str, float]:
        found = {}
        for task in self._source.tasks:
            regions = self._source.labels.foreground
            names = [task.evidence_region] if task.evidence_region else list(regions)
            values = sorted({v for name in names for v in regions[name]})
            total = stored.evidence_voxels(task.evidence_region)
            held = int(torch.isin(label_map, torch.tensor(values, dtype=label_map.dtype)).sum())
            found[task.name] = min(1.0, held / total) if total else coverage
        return found


def _as_zyx(size: Sequence[int]) -> tuple[int, int, int]:
    z, y, x = (1, *size)[-3:]
    return (z, y, x)


def _coverage(start: Sequence[int], patch: Sequence[int], shape: Sequence[int]) -> float:
    """Share of the image's voxels that lie in the patch."""
    inside = [
        max(0, min(s + p, n) - max(s, 0)) / n for s, p, n in zip(start, patch, shape, strict=True)
    ]
    return float(np.prod(inside))


def _balanced_order(source: PatchSource, sampling: SamplingConfig) -> BalancedOrder | None:
    if sampling.cases != "class_balanced":
        return None
    task = balanced_task(source.tasks, sampling.balanced_task)
    found = np.nan_to_num(source.targets[task][:, 0], nan=-1).astype(int).tolist()
    classes = dict(zip(source.cases, found, strict=True))
    return BalancedOrder(classes, source.seed, where=f"task {task!r}, training cases")


def _require_region(labels: LabelScheme, region: str | None) -> None:
    if region is not None and region not in labels.foreground:
        raise RequestError(
            "sampling, foreground_region",
            found=f"{region!r}",
            expected=f"one of {list(labels.foreground)}",
            remedy="Name a foreground label or region of dataset.json, or leave the option out.",
        )


def collate(samples: Sequence[Mapping[str, Any]]) -> Batch:
    """Stacks samples into a batch."""
    tasks = samples[0]["targets"]
    return Batch(
        cases=tuple(s["case"] for s in samples),
        image=torch.stack([s["image"] for s in samples]),
        label_map=torch.stack([s["label_map"] for s in samples]),
        has_mask=torch.tensor([s["has_mask"] for s in samples]),
        targets={t: torch.from_numpy(np.stack([s["targets"][t] for s in samples])) for t in tasks},
        evidence={
            t: torch.tensor([s["evidence"][t] for s in samples], dtype=torch.float32) for t in tasks
        },
    )


def batches(
    dataset: PatchDataset,
    *,
    batch_size: int,
    first_step: int,
    last_step: int,
    workers: int,
    processes: Processes = ONE_PROCESS,
) -> Iterator[Batch]:
    """Batches of steps `first_step` to `last_step` - 1; step k holds samples k*B to k*B + B - 1.

    Of several processes that train together each draws its share of every batch, nothing else.
    With workers, patches are made in other processes; one that dies raises within seconds.

    Raises:
        DataError: a prepared case is damaged.
        RuntimeError: a worker died, or failed through a bug.
    """
    plan = [
        list(processes.share(range(step * batch_size, (step + 1) * batch_size)))
        for step in range(first_step, last_step)
    ]
    loader = DataLoader(
        _WithErrors(dataset),
        batch_sampler=plan,
        collate_fn=_collate_or_error,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        # Its own generator: drawing worker seeds from the global one would break the resume law.
        generator=torch.Generator(),
    )
    for batch in loader:
        if isinstance(batch, SegduetError):
            raise batch
        yield batch


class _WithErrors(Dataset[Mapping[str, Any] | SegduetError]):
    """Hands our errors over as samples: torch would rebuild them from their text, and cannot."""

    def __init__(self, dataset: PatchDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, index: int) -> Mapping[str, Any] | SegduetError:
        try:
            return self._dataset[index]
        except SegduetError as error:
            return error


def _collate_or_error(samples: Sequence[Mapping[str, Any] | SegduetError]) -> Batch | SegduetError:
    whole = []
    for sample in samples:
        if isinstance(sample, SegduetError):
            return sample
        whole.append(sample)
    return collate(whole)
