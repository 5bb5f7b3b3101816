"""Writes phantoms in the folder layouts users bring: the pancreas quiz, nerve folders (F11).

A case depends on (seed, split, index) only, never on the number of workers.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np

from segduet.core.errors import RequestError
from segduet.core.files import atomic_path, write_csv
from segduet.dataset.phantoms.lesion import NUM_SUBTYPES
from segduet.dataset.phantoms.nerve import NERVE_CLASSES
from segduet.dataset.phantoms.pancreas import PancreasPhantomConfig, generate_pancreas_case
from segduet.dataset.phantoms.ultrasound import (
    NerveUltrasoundConfig,
    draw_patient_style,
    generate_nerve_case,
)
from segduet.io.images import write_label_map
from segduet.io.itk import write_scan
from segduet.io.pictures import write_picture

_Item = TypeVar("_Item")

_SPLITS = ("train", "validation", "test")
_NERVE_STREAM, _PATIENT_STREAM = 3, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _QuizCase:
    subtype: int
    seed: int
    image: Path
    mask: Path


def write_pancreas_quiz(
    target: Path,
    config: PancreasPhantomConfig,
    *,
    counts: Mapping[str, Sequence[int]],
    num_test: int,
    seed: int,
    workers: int,
) -> Path:
    """Writes phantoms in the layout of the pancreas quiz.

    `train/subtypeK/quiz_K_NNN_0000.nii.gz` with mask `quiz_K_NNN.nii.gz`, the same under
    `validation`, and `test/quiz_NNN_0000.nii.gz` without masks. Numbers are unique over all splits
    and in random order. The truth of the test cases is written beside the quiz, not into it.

    Args:
        target: folder of the quiz; existing files of the same name are replaced.
        config: parameters of the phantom.
        counts: "train" and "validation" -> number of cases of subtype 0, 1, 2.
        num_test: test cases; subtypes take turns.
        seed: of the whole set.
        workers: threads; the files do not depend on their number.

    Returns:
        Folder `<target>-test-truth` with `quiz_NNN.nii.gz` masks and `subtype_results.csv` (the
        columns of a submission).

    Raises:
        RequestError: an unknown split, not three counts, a negative one, or no worker.
        StorageError: a file could not be written.
    """
    _check_request(counts, num_test, workers)
    truth = target.with_name(f"{target.name}-test-truth")
    cases = _quiz_cases(target, truth, counts, num_test, seed)
    _for_all(cases, lambda case: _write_quiz_case(case, config), workers)
    tests = sorted((c for c in cases if c.mask.parent == truth), key=lambda c: c.mask.name)
    rows = ({"Names": c.mask.name, "Subtype": c.subtype} for c in tests)
    write_csv(truth / "subtype_results.csv", ["Names", "Subtype"], rows)
    return truth


def write_nerve_folders(
    target: Path,
    config: NerveUltrasoundConfig,
    *,
    num_patients: int,
    images_per_patient: int,
    seed: int,
    workers: int,
) -> None:
    """Writes nerve phantoms as `patient_0NN/<class>/<case>_<sample>.png` with `..._mask.png`.

    A case is one nerve of one patient, so its number is unique over the dataset; its samples are
    images of that nerve. Images of a patient share gain, attenuation, speckle size and fat; the
    classes take turns. Masks hold 0 and 1.

    Args:
        target: folder of the patients; existing files of the same name are replaced.
        config: parameters of the phantom.
        num_patients: patients, numbered from 1.
        images_per_patient: images over all classes.
        seed: of the whole set.
        workers: threads; the files do not depend on their number.

    Raises:
        RequestError: a negative number, or no worker.
        StorageError: a file could not be written.
    """
    _check_counts("nerve folders", [num_patients, images_per_patient], workers)
    wanted = [(p, i) for p in range(num_patients) for i in range(images_per_patient)]
    _for_all(wanted, lambda w: _write_nerve_image(target, config, seed, *w), workers)


def _write_nerve_image(
    target: Path, config: NerveUltrasoundConfig, seed: int, patient: int, image: int
) -> None:
    sample, nerve_class = divmod(image, len(NERVE_CLASSES))
    phantom = generate_nerve_case(
        config,
        nerve_class=nerve_class,
        seed=_case_seed(seed, _NERVE_STREAM, patient, image),
        style=draw_patient_style(config, seed=_case_seed(seed, _PATIENT_STREAM, patient)),
    )
    case = patient * len(NERVE_CLASSES) + nerve_class + 1
    folder = target / f"patient_{patient + 1:03d}" / NERVE_CLASSES[nerve_class]
    _write_png(folder / f"{case}_{sample}.png", phantom.image)
    _write_png(folder / f"{case}_{sample}_mask.png", phantom.mask)


def _quiz_cases(
    target: Path, truth: Path, counts: Mapping[str, Sequence[int]], num_test: int, seed: int
) -> list[_QuizCase]:
    wanted = [
        (split, subtype)
        for split in _SPLITS[:2]
        for subtype, count in enumerate(counts.get(split, ()))
        for _ in range(count)
    ]
    wanted += [("test", i % NUM_SUBTYPES) for i in range(num_test)]
    numbers = np.random.default_rng([seed, len(_SPLITS)]).permutation(len(wanted)) + 1
    next_index = dict.fromkeys(_SPLITS, 0)
    cases = []
    for (split, subtype), number in zip(wanted, numbers, strict=True):
        name = f"quiz_{number:03d}" if split == "test" else f"quiz_{subtype}_{number:03d}"
        folder = target / split if split == "test" else target / split / f"subtype{subtype}"
        cases.append(
            _QuizCase(
                subtype=subtype,
                seed=_case_seed(seed, _SPLITS.index(split), next_index[split]),
                image=folder / f"{name}_0000.nii.gz",
                mask=(truth if split == "test" else folder) / f"{name}.nii.gz",
            )
        )
        next_index[split] += 1
    return cases


def _write_quiz_case(case: _QuizCase, config: PancreasPhantomConfig) -> None:
    phantom = generate_pancreas_case(config, subtype=case.subtype, seed=case.seed)
    with atomic_path(case.image) as temporary:
        write_scan(temporary, phantom.image, phantom.geometry)
    write_label_map(case.mask, phantom.label_map, phantom.geometry)


def _write_png(path: Path, pixels: np.ndarray) -> None:
    with atomic_path(path) as temporary:
        write_picture(temporary, pixels)


def _case_seed(seed: int, *path: int) -> int:
    """A seed of its own for each place in the dataset."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1, np.uint64)[0])


def _for_all(items: Sequence[_Item], do: Callable[[_Item], None], workers: int) -> None:
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(do, items):
            pass


def _check_request(counts: Mapping[str, Sequence[int]], num_test: int, workers: int) -> None:
    unknown = sorted(set(counts) - set(_SPLITS[:2]))
    uneven = sorted(s for s, c in counts.items() if len(c) != NUM_SUBTYPES)
    if unknown or uneven:
        raise RequestError(
            "pancreas quiz phantom",
            found=f"counts {dict(counts)}",
            expected=f"three counts for {_SPLITS[0]!r} and {_SPLITS[1]!r}",
            remedy="Correct the counts.",
        )
    _check_counts("pancreas quiz phantom", [num_test, *chain(*counts.values())], workers)


def _check_counts(where: str, numbers: Sequence[int], workers: int) -> None:
    if min(numbers) < 0 or workers < 1:
        raise RequestError(
            where,
            found=f"numbers of images {list(numbers)} and {workers} workers",
            expected="no negative number and at least one worker",
            remedy="Correct the numbers.",
        )
