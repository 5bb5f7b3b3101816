"""What planted_findings.py plants: changed copies of images, leaking folds, telling names."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.tasks import TaskSpec
from segduet.dataset.folds import Fold, stratified_grouped_folds
from segduet.dataset.thumbnails import resized

TASK = TaskSpec(name="class", classes=("benign", "malignant", "normal"))
_NOISE_SD = 0.1  # of the image's standard deviation
_JPEG_QUALITY = 50
_LARGEST_CROP = 0.1  # of an axis, off either end


def copied(image: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """The same values."""
    return image


def mirrored(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Along one or more axes of more than one voxel."""
    axes = [axis for axis in range(3) if image.shape[axis] > 1]
    chosen = rng.permutation(axes)[: rng.integers(1, len(axes) + 1)]
    return np.flip(image, chosen)


def rescaled(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """On another intensity scale in float32, as a rewritten NIfTI file may hold it."""
    return (rng.uniform(0.001, 10) * image + rng.uniform(-1000, 1000)).astype(np.float32)


def quantised(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of a tenth of the image's spread, then 8 bits."""
    return _bytes(image + rng.normal(0, _NOISE_SD * image.std(), image.shape))


def jpeg(image: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Every slice through JPEG at quality 50."""
    return np.stack([_through_jpeg(pixels) for pixels in _bytes(image)])


def cropped(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Up to a tenth off every end of every axis, about a fifth of a picture's pixels."""
    windows = [
        slice(round(low * n), n - round(high * n)) if n > 1 else slice(None)
        for n, (low, high) in zip(image.shape, rng.uniform(0, _LARGEST_CROP, (3, 2)), strict=True)
    ]
    return image[tuple(windows)]


def enlarged(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A crop brought back to the size of the whole."""
    return resized(cropped(image, rng), image.shape)


Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
#: Changes that must all be found, and crops, of which 95 % must be.
CHANGES: Mapping[str, Change] = {
    "copy": copied,
    "flip": mirrored,
    "intensity_scale": rescaled,
    "noise_8_bit": quantised,
    "jpeg": jpeg,
    "crop": cropped,
    "enlarged_crop": enlarged,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedFolds:
    """A case table and two sets of folds.

    Attributes:
        records: patients with one to four cases each.
        sound: folds that keep patients together.
        leaking: the same, but one patient's case has changed sides in fold 0.
        leaked: that patient.
    """

    records: tuple[CaseRecord, ...]
    sound: tuple[Fold, ...]
    leaking: tuple[Fold, ...]
    leaked: str


def planted_folds(rng: np.random.Generator) -> PlantedFolds:
    """Draws 20 to 60 patients and moves one case from training to validation."""
    records = []
    for patient in range(int(rng.integers(20, 60))):
        label = TASK.classes[patient % len(TASK.classes)]
        for image in range(int(rng.integers(1, 5))):
            case = f"i{patient:03d}_{image}"
            records.append(CaseRecord(case=case, patient=f"p{patient}", labels={"class": label}))
    table = CaseTable(records=tuple(records), where="planted")
    cases = [record.case for record in records]
    sound = stratified_grouped_folds(table, TASK, cases=cases, seed=int(rng.integers(1000)))
    patient_of = {record.case: record.patient for record in records}
    several = [c for c in sound[0].train if list(patient_of.values()).count(patient_of[c]) > 1]
    moved = str(rng.choice(several))
    first = Fold(train=tuple(c for c in sound[0].train if c != moved), val=(*sound[0].val, moved))
    leaking = (first, *sound[1:])
    leaked = patient_of[moved]
    return PlantedFolds(records=tuple(records), sound=sound, leaking=leaking, leaked=leaked)


def named_cases(rng: np.random.Generator, *, tells_class: bool) -> tuple[CaseRecord, ...]:
    """Draws 40 to 200 cases of two or three classes, named after one of four schemes.

    The class is a word, a letter, a digit, or a block of running numbers, in front of other parts
    or behind them; up to 3 % of the names are wrong. Where names are not to tell the class, the
    labels are shuffled.
    """
    num_cases, num_classes = int(rng.integers(40, 200)), int(rng.integers(2, 4))
    labels = rng.integers(0, num_classes, num_cases)
    scheme, is_first = int(rng.integers(4)), bool(rng.integers(2))
    if scheme == 3:
        labels = np.sort(labels)
    named = np.where(rng.random(num_cases) < rng.uniform(0, 0.03), rng.permutation(labels), labels)
    numbers = np.arange(num_cases) if scheme == 3 else rng.permutation(num_cases)
    tokens = [["ben", "mal", "norm"], ["x", "y", "z"], ["0", "1", "2"], ["s", "s", "s"]][scheme]
    truth = labels if tells_class else rng.permutation(labels)
    records = []
    for number, token, label in zip(numbers, named, truth, strict=True):
        parts = [tokens[token], f"{number:04d}"]
        case = "_".join(["site", *(parts if is_first else parts[::-1])])
        records.append(CaseRecord(case=case, patient=case, labels={"class": TASK.classes[label]}))
    return tuple(records)


def _bytes(image: np.ndarray) -> np.ndarray:
    low, high = float(image.min()), float(image.max())
    return np.rint((image - low) / (high - low) * 255).astype(np.uint8)


def _through_jpeg(pixels: np.ndarray) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=_JPEG_QUALITY)
    return np.asarray(Image.open(stream))
