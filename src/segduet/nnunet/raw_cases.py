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
    """

    images: tuple[Path, ...]
    mask: Path | None


def raw_cases(folders: DatasetFolders, description: DatasetDescription) -> dict[str, RawCase]:
    """Case id -> files, sorted by id.

    Follows the `dataset` entry of dataset.json where it has one (nnU-Net then ignores imagesTr),
    otherwise what lies in imagesTr and labelsTr.

    Raises:
        DataError: there are no images, or a file that `dataset` names is missing.
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
    pattern = re.compile(r"(.+)_\d{4}" + re.escape(ending))
    images: dict[str, list[Path]] = {}
    for path in sorted(folders.images.glob(f"*{ending}")):
        if match := pattern.fullmatch(path.name):
            images.setdefault(match[1], []).append(path)
    masks = {case: folders.masks / f"{case}{ending}" for case in images}
    return {
        case: RawCase(images=tuple(paths), mask=masks[case] if masks[case].is_file() else None)
        for case, paths in images.items()
    }


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
