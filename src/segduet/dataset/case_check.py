"""Checks the image and the mask of one case of a raw dataset."""

from collections.abc import Iterator

import numpy as np

from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError, SegduetError
from segduet.core.geometry import Geometry
from segduet.core.volume import Volume
from segduet.dataset.findings import Finding, FindingKind, error_about, warning_about
from segduet.dataset.label_repair import repair_mask
from segduet.dataset.listing import RawFiles
from segduet.io.images import read_image, read_label_map


def check_case(case: str, files: RawFiles, description: DatasetDescription) -> list[Finding]:
    """Everything wrong with one case: missing files, image, mask, grid and label values.

    Args:
        case: case id.
        files: files of the dataset.
        description: channels and labels.
    """
    findings: list[Finding] = []
    geometry = None
    if case in files.images:
        geometry = _image_grid(case, files, description, findings)
    else:
        findings.append(
            error_about(FindingKind.FILES, case, "There is a mask, but no image.", "Add the image.")
        )
    if case in files.masks and case in files.unlabelled:
        findings.append(
            error_about(
                FindingKind.FILES,
                case,
                "There is a mask, but the image is in imagesUnlabelled, where none is looked for.",
                "Move the image to imagesTr, or remove the mask.",
            )
        )
    elif case in files.masks:
        findings.extend(_mask_findings(case, files, description, geometry))
    elif case not in files.test_cases | files.unlabelled:
        findings.append(
            error_about(
                FindingKind.FILES,
                case,
                "There is a training image, but no mask.",
                "Add the mask, or move the image to imagesUnlabelled (its class is learnt alone) "
                "or imagesTs.",
            )
        )
    return findings


def _image_grid(
    case: str, files: RawFiles, description: DatasetDescription, findings: list[Finding]
) -> Geometry | None:
    """Grid of the image, None where it cannot be read; adds what is wrong to `findings`."""
    try:
        volume = read_image(files.images[case])
    except DataError as error:
        findings.append(_told(FindingKind.IMAGE, case, error))
        return None
    if len(volume.array) != description.num_channels:
        findings.append(
            error_about(
                FindingKind.IMAGE,
                case,
                f"The image has {len(volume.array)} channel(s), dataset.json declares "
                f"{description.num_channels}.",
                "Add the missing channel files, or correct channel_names.",
            )
        )
    return volume.geometry


def _mask_findings(
    case: str, files: RawFiles, description: DatasetDescription, grid: Geometry | None
) -> Iterator[Finding]:
    try:
        mask = read_label_map(files.masks[case])
    except DataError as error:
        yield _told(FindingKind.MASK, case, error)
        return
    differing = grid.differences(mask.geometry) if grid else []
    if differing:
        yield error_about(
            FindingKind.GRID,
            case,
            f"Image and mask differ in {', '.join(differing)}.",
            "Resample the mask onto the image's grid, or correct its header.",
        )
    yield from _label_findings(case, mask, description)


def _label_findings(case: str, mask: Volume, description: DatasetDescription) -> Iterator[Finding]:
    declared = {value: value for value in description.label_scheme.values}
    try:
        repaired = repair_mask(mask.array[0], declared, case=case)
    except DataError as error:
        yield _told(FindingKind.LABELS, case, error)
        return
    if repaired.repair.is_needed:
        yield error_about(
            FindingKind.LABELS,
            case,
            f"{repaired.repair.num_rounded} voxels are integers but for a rounding error of up to "
            f"{repaired.repair.max_error:.2g}.",
            "Import the dataset again, which repairs and records this.",
        )
    if not np.any(repaired.label_map):
        yield warning_about(
            FindingKind.FOREGROUND,
            case,
            "The mask has no foreground.",
            "Nothing, if there is nothing to see in this image.",
        )


def _told(kind: FindingKind, case: str, error: SegduetError) -> Finding:
    message = f"{error.where}: found {error.found}; expected {error.expected}."
    return error_about(kind, case, message, error.remedy)
