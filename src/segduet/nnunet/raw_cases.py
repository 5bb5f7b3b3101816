"""The files of every case in an nnU-Net raw folder."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError
from segduet.core.folders import DatasetFolders


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCase:
    """Files of one case.

    Attributes:
        images: one file per channel in channel order, or one colour picture.
        mask: label map; None where the case has none.
        is_unlabelled: whether it has none on purpose: its image lies in `imagesUnlabelled`.
    """

    images: tuple[Path, ...]
    mask: Path | None
    is_unlabelled: bool = False


def raw_cases(folders: DatasetFolders, description: DatasetDescription) -> dict[str, RawCase]:
    """Case id -> files, sorted by id.

    Follows the `dataset` entry of dataset.json where it has one (nnU-Net then ignores imagesTr),
    otherwise what lies in imagesTr and labelsTr, and in imagesUnlabelled.

    Raises:
        DataError: there are no images, a file that `dataset` names is missing, or a case is both
            in imagesTr and in imagesUnlabelled.
    """
    listed = (description.model_extra or {}).get("dataset")
    cases = _listed(folders, listed) if listed else _found(folders, description.file_ending)
    if not cases:
        raise DataError(
            str(folders.images),
            found="no images",
            expected=f"files named <case>_0000{description.file_ending}",
            remedy="Import the dataset with `segduet import`.",
        )
    return dict(sorted(cases.items()))


def _found(folders: DatasetFolders, ending: str) -> dict[str, RawCase]:
    cases = {}
    for case, paths in _images(folders.images, ending).items():
        mask = folders.masks / f"{case}{ending}"
        cases[case] = RawCase(images=paths, mask=mask if mask.is_file() else None)
    for case, paths in _images(folders.unlabelled_images, ending).items():
        if case in cases:
            raise DataError(
                f"case {case!r}",
                found=f"images in {folders.images.name} and {folders.unlabelled_images.name}",
                expected="every case in one of them",
                remedy="Remove those in the second if there is a mask, or else in the first.",
            )
        cases[case] = RawCase(images=paths, mask=None, is_unlabelled=True)
    return cases


def _images(folder: Path, ending: str) -> dict[str, tuple[Path, ...]]:
    pattern = re.compile(r"(.+)_\d{4}" + re.escape(ending))
    images: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(f"*{ending}")):
        if match := pattern.fullmatch(path.name):
            images.setdefault(match[1], []).append(path)
    return {case: tuple(paths) for case, paths in images.items()}


def _listed(folders: DatasetFolders, listed: dict[str, dict[str, Any]]) -> dict[str, RawCase]:
    cases = {}
    for case, entry in listed.items():
        images, mask = entry["images"], entry.get("label")
        paths = [folders.raw / os.path.expandvars(p) for p in (*images, *([mask] if mask else []))]
        for path in paths:
            if not path.is_file():
                raise DataError(
                    str(folders.raw / "dataset.json"),
                    found=f"case {case!r} with the missing file {path}",
                    expected="every file under `dataset` to exist",
                    remedy="Correct the entry or bring the file.",
                )
        has_mask = bool(mask)
        cases[case] = RawCase(
            images=tuple(paths[: len(images)]), mask=paths[-1] if has_mask else None
        )
    return cases
