"""Patches with their targets; sample i of a training is the same on any number of workers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from segduet.core.errors import SegduetError
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.nnunet.store import PreparedStore, StoredCase
from segduet.training.augmentation import AugmentationPlan, build_augmentation, seeded_globals
from segduet.training.config import SamplingConfig
from segduet.windows.sampling import choose_patch_start, read_patch, sample_generator

#: Class target of a case whose label is unknown; its loss is masked.
UNKNOWN_CLASS = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Patches of one step.

    Attributes:
        cases: case id of each patch.
        image: (B, C, *spatial) float32.
        label_map: (B, 1, *spatial) int16; -1 outside the image.
        classes: task -> (B,) int64 class index, `UNKNOWN_CLASS` where unknown.
        evidence: task -> (B,) float32 in [0, 1], how much of what the class label is about lies in
            the patch.
    """

    cases: tuple[str, ...]
    image: torch.Tensor
    label_map: torch.Tensor
    classes: Mapping[str, torch.Tensor]
    evidence: Mapping[str, torch.Tensor]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(
            cases=self.cases,
            image=self.image.to(device, non_blocking=True),
            label_map=self.label_map.to(device, non_blocking=True),
            classes={k: v.to(device) for k, v in self.classes.items()},
            evidence={k: v.to(device) for k, v in self.evidence.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSource:
    """Where patches come from: cases of a store and what is known about them.

    Attributes:
        store: prepared cases.
        cases: ids to draw from, at least one.
        classes: task -> case -> class index or `UNKNOWN_CLASS`.
        tasks: the case-level tasks.
        labels: the label scheme of the masks.
        seed: every sample is a function of (seed, index).
    """

    store: PreparedStore
    cases: tuple[str, ...]
    classes: Mapping[str, Mapping[str, int]]
    tasks: tuple[TaskSpec, ...]
    labels: LabelScheme
    seed: int


class PatchDataset(Dataset[dict[str, Any]]):
    """Sample i: the i-th case of an endless shuffled sequence, a patch of it, augmented.

    Every pass through the cases is a new permutation, so that after n samples each of n cases has
    been seen once. Evidence of a patch for a task is the share of the case's target region that
    the augmented patch holds (1 at most); where the case has none of that region, it is the share
    of the case's image that the patch covers.
    """

    def __init__(
        self, source: PatchSource, augmentation: AugmentationPlan, sampling: SamplingConfig
    ) -> None:
        self._source = source
        self._plan = augmentation
        self._sampling = sampling
        self._transform = build_augmentation(augmentation, sampling.augmentation)
        self._open: dict[str, StoredCase] = {}

    def __getitem__(self, index: int) -> dict[str, Any]:
        source = self._source
        case = _shuffled_case(source.cases, source.seed, index)
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
            "classes": {t.name: source.classes[t.name][case] for t in source.tasks},
            "evidence": self._evidence(stored, tensors["segmentation"], coverage),
        }

    def _stored(self, case: str) -> StoredCase:
        if case not in self._open:
            self._open[case] = self._source.store.open(case)
        return self._open[case]

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
        )
        outer = tuple(s - (r - p) // 2 for s, r, p in zip(start, read, patch, strict=True))
        image = read_patch(stored.image, outer, read, pad_value=0)
        label_map = read_patch(stored.label_map, outer, read, pad_value=-1)
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


def _shuffled_case(cases: Sequence[str], seed: int, index: int) -> str:
    turn, position = divmod(index, len(cases))
    order = sample_generator(seed, 0, turn).permutation(len(cases))
    return cases[int(order[position])]


def collate(samples: Sequence[Mapping[str, Any]]) -> Batch:
    """Stacks samples into a batch."""
    tasks = samples[0]["classes"]
    return Batch(
        cases=tuple(s["case"] for s in samples),
        image=torch.stack([s["image"] for s in samples]),
        label_map=torch.stack([s["label_map"] for s in samples]),
        classes={t: torch.tensor([s["classes"][t] for s in samples]) for t in tasks},
        evidence={
            t: torch.tensor([s["evidence"][t] for s in samples], dtype=torch.float32) for t in tasks
        },
    )


def batches(
    dataset: PatchDataset, *, batch_size: int, first_step: int, last_step: int, workers: int
) -> Iterator[Batch]:
    """Batches of steps `first_step` to `last_step` - 1; step k holds samples k*B to k*B + B - 1.

    With workers, patches are made in other processes; one that dies raises within seconds.

    Raises:
        DataError: a prepared case is damaged.
        RuntimeError: a worker died, or failed through a bug.
    """
    plan = [
        list(range(step * batch_size, (step + 1) * batch_size))
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
