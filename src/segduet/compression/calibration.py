"""Which cases a network is calibrated with, and the windows cut from them. Arrays (C, Z, Y, X)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segduet.core.cases import CaseTable
from segduet.core.errors import RequestError
from segduet.core.tasks import TaskSpec
from segduet.dataset.label_groups import label_groups
from segduet.windows.sampling import choose_patch_start, read_patch, sample_generator
from segduet.windows.tiles import Shape

_UNKNOWN = ("",)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSettings:
    """How many cases and windows a network is calibrated with.

    Attributes:
        num_cases: at most so many; 16 were enough on the toy of reference/performance.md.
        windows_per_case: of which every second is centred on foreground where masks are known.
        seed: of the choice of cases and windows.
    """

    num_cases: int = 16
    windows_per_case: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_cases < 1 or self.windows_per_case < 1:
            raise RequestError(
                "calibration",
                found=f"{self.num_cases} cases with {self.windows_per_case} windows each",
                expected="at least one of each",
                remedy="Raise the number.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationCase:
    """A prepared case to cut windows from.

    Attributes:
        case: case id.
        image: (C, Z, Y, X) float32 as the network sees it, or anything that gives it when sliced.
        locations: foreground region -> (N, 3) voxels of it; empty where no mask is known.
    """

    case: str
    image: Any
    locations: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationWindow:
    """What the network is shown to learn the range of its activations.

    Attributes:
        case: where it comes from.
        image: (C, Z, Y, X) float32.
        shares: (1, Z, Y, X) float32, 1 in the image and 0 in the padding around it: each window
            stands alone.
    """

    case: str
    image: np.ndarray
    shares: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseChoice:
    """Cases to calibrate with and cases to judge by; no patient is in both."""

    calibration: tuple[str, ...]
    held: tuple[str, ...]


def choose_cases(
    table: CaseTable,
    task: TaskSpec | None,
    *,
    train: Sequence[str],
    val: Sequence[str],
    settings: CalibrationSettings,
) -> CaseChoice:
    """Calibration cases in the classes' proportions; the held cases are the others.

    Args:
        table: patients and labels.
        task: whose classes are spread; None spreads nothing.
        train: cases to calibrate with.
        val: cases to hold for the gate; where there are none, those of `train` that are left
            over, and at least half of them.
        settings: how many, and the seed.

    Raises:
        RequestError: no cases are left to judge by, or none to calibrate with.
    """
    ordered = _spread(table, task, train, settings.seed)
    most = settings.num_cases if val else min(settings.num_cases, len(ordered) // 2)
    chosen = tuple(ordered[:most])
    taken = {table.record(case).patient for case in chosen}
    left = sorted(val or ordered[most:])
    held = tuple(case for case in left if table.record(case).patient not in taken)
    if not chosen or not held:
        raise RequestError(
            f"calibration with {table.where}",
            found=f"{len(chosen)} cases to calibrate with and {len(held)} of other patients",
            expected="at least one of each, as the gate needs cases that calibration has not seen",
            remedy="Bring images of more patients.",
        )
    return CaseChoice(calibration=chosen, held=held)


def calibration_windows(
    cases: Iterable[CalibrationCase], *, patch_zyx: Shape, settings: CalibrationSettings
) -> Iterator[CalibrationWindow]:
    """Windows of the network's patch size, every second one centred on foreground.

    Where a case has no known foreground, all its windows lie anywhere in it, as those of a
    prediction do. The same seed and cases give the same windows.
    """
    for number, case in enumerate(cases):
        _, *shape = case.image.shape
        inside = np.broadcast_to(np.float32(1), (1, *shape))
        for index in range(settings.windows_per_case):
            # with one window per case, every second case has it on its foreground
            on_foreground = (number * settings.windows_per_case + index) % 2 == 1
            start = choose_patch_start(
                sample_generator(settings.seed, number, index),
                shape=(shape[0], shape[1], shape[2]),
                patch=patch_zyx,
                locations=case.locations,
                foreground_share=float(on_foreground),
            )
            yield CalibrationWindow(
                case=case.case,
                image=read_patch(case.image, start, patch_zyx, pad_value=0).astype(np.float32),
                shares=read_patch(inside, start, patch_zyx, pad_value=0),
            )


def _spread(table: CaseTable, task: TaskSpec | None, cases: Sequence[str], seed: int) -> list[str]:
    """The cases in an order of which every beginning has the classes in proportion."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for case in sorted(cases):
        label = table.record(case).labels.get(task.name) if task else None
        groups.setdefault(label_groups(task, label) if task and label else _UNKNOWN, []).append(
            case
        )
    generator = np.random.default_rng(seed)
    placed = [
        ((rank + 0.5) / len(members), group, members[index])
        for group, members in sorted(groups.items())
        for rank, index in enumerate(generator.permutation(len(members)))
    ]
    return [case for _, _, case in sorted(placed)]
