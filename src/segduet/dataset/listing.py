"""Which files a raw dataset or a user's folder holds."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from segduet.core.errors import DataError
from segduet.core.folders import DatasetFolders
from segduet.io.names import SUPPORTED_ENDINGS, case_and_channel, name_without_ending

CASES_FILE = "cases.csv"
DESCRIPTION_FILE = "dataset.json"
AUDIT_FILE = "import-audit.json"


def masks_of_test_cases(folders: DatasetFolders) -> Path:
    """`labelsTs`: masks of test cases, where there are any; nnU-Net does not read it."""
    return folders.raw / "labelsTs"


def visible_files(folder: Path) -> list[Path]:
    """Files of a folder by name, without hidden ones (`._a.nii.gz`); none where it is missing."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def visible_folders(folder: Path) -> list[Path]:
    """Folders inside a folder by name, without hidden ones; none where it is missing."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def by_name(paths: Iterable[Path]) -> dict[str, Path]:
    """File name without ending -> path.

    Raises:
        DataError: an unknown ending, or two files that differ in their ending only.
    """
    found: dict[str, Path] = {}
    for path in paths:
        other = found.setdefault(name_without_ending(path), path)
        if other != path:
            raise DataError(
                str(path),
                found=f"a second file of this name beside {other.name}",
                expected="one file per name",
                remedy="Remove one of them.",
            )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFiles:
    """Image and mask files of a raw dataset.

    Attributes:
        images: case -> one file per channel, in channel order (all folders).
        masks: case -> mask.
        test_cases: cases whose images are in `imagesTs`.
        unlabelled: cases whose images are in `imagesUnlabelled`: without a mask on purpose.
        strays: files in these folders that no reader would find by their name.
        repeated: cases that are in more than one folder of images, or of masks.
    """

    images: dict[str, tuple[Path, ...]]
    masks: dict[str, Path]
    test_cases: frozenset[str]
    unlabelled: frozenset[str]
    strays: tuple[Path, ...]
    repeated: tuple[str, ...]


def list_raw_files(folders: DatasetFolders, ending: str) -> RawFiles:
    """Lists the files of a raw dataset whose description declares this ending."""
    training, stray_images = _images(folders.images, ending)
    test, stray_test_images = _images(folders.test_images, ending)
    unlabelled, stray_unlabelled = _images(folders.unlabelled_images, ending)
    masks, stray_masks = _masks(folders.masks, ending)
    test_masks, stray_test_masks = _masks(masks_of_test_cases(folders), ending)
    return RawFiles(
        images={**training, **test, **unlabelled},
        masks={**masks, **test_masks},
        test_cases=frozenset(test),
        unlabelled=frozenset(unlabelled),
        strays=(
            *(*stray_images, *stray_test_images, *stray_unlabelled),
            *(*stray_masks, *stray_test_masks),
        ),
        repeated=tuple(
            sorted(_repeated(training, test, unlabelled) | _repeated(masks, test_masks))
        ),
    )


def _repeated(*folders: Iterable[str]) -> set[str]:
    counts = Counter(case for folder in folders for case in folder)
    return {case for case, count in counts.items() if count > 1}


def _images(folder: Path, ending: str) -> tuple[dict[str, tuple[Path, ...]], list[Path]]:
    channels: dict[str, dict[int, Path]] = {}
    strays = []
    for path in visible_files(folder):
        try:
            case, channel = case_and_channel(path) if path.name.endswith(ending) else ("", 0)
        except DataError:
            case, channel = "", 0
        if case:
            channels.setdefault(case, {})[channel] = path
        elif not _is_tiff_spacing(path, ending):
            strays.append(path)
    ordered = {case: tuple(p for _, p in sorted(c.items())) for case, c in channels.items()}
    return ordered, strays


def _masks(folder: Path, ending: str) -> tuple[dict[str, Path], list[Path]]:
    files = visible_files(folder)
    masks = {p.name[: -len(ending)]: p for p in files if p.name.endswith(ending)}
    named = set(masks.values())
    return masks, [p for p in files if p not in named and not _is_tiff_spacing(p, ending)]


def _is_tiff_spacing(path: Path, ending: str) -> bool:
    return ending in SUPPORTED_ENDINGS[-2:] and path.suffix == ".json"
