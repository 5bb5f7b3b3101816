"""One case from the user's folder into the raw dataset: copied or converted, then checked."""

from dataclasses import dataclass
from pathlib import Path

from segduet.core.errors import DataError
from segduet.core.geometry import Geometry
from segduet.dataset.convert import (
    is_mat,
    is_stacked_nifti,
    read_source_mask,
    source_ending,
    split_stacked_nifti,
    write_mat_channels,
)
from segduet.dataset.label_repair import Repair, repair_mask, write_repaired
from segduet.dataset.source import SourceCase, SourceDataset
from segduet.dataset.staging import copy_synced
from segduet.io.images import read_image
from segduet.io.names import image_name
from segduet.io.pictures import TIFF_ENDINGS, tiff_spacing_file

TRAINING_IMAGES, TRAINING_MASKS = "imagesTr", "labelsTr"
TEST_IMAGES, TEST_MASKS = "imagesTs", "labelsTs"
UNLABELLED_IMAGES = "imagesUnlabelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseAudit:
    """What was done to one case on the way in.

    Attributes:
        case: case id.
        is_converted: whether the image was converted rather than copied byte by byte.
        repair: what was changed in the mask; None where there is no mask.
    """

    case: str
    is_converted: bool
    repair: Repair | None


def images_folder(case: SourceCase) -> str:
    """The folder of the raw dataset that a case's images belong in."""
    if case.is_test:
        return TEST_IMAGES
    return UNLABELLED_IMAGES if case.is_unlabelled else TRAINING_IMAGES


def transfer_case(case: SourceCase, source: SourceDataset, *, raw: Path, ending: str) -> CaseAudit:
    """Puts the files of one case into the raw dataset, checking what nnU-Net will read there.

    Args:
        case: the case.
        source: the dataset it belongs to, for channels and labels.
        raw: folder with the folders of images and masks in it, of those that are needed.
        ending: file ending of the raw dataset.

    Raises:
        DataError: an unreadable file, the wrong number of channels, a mask on another grid or with
            undeclared values.
        OSError: a file could not be written.
    """
    files = _transfer_image(case, source, folder=raw / images_folder(case), ending=ending)
    image = read_image(files)
    if len(image.array) != len(source.channel_names):
        raise DataError(
            f"case {case.record.case!r}, image",
            found=f"{len(image.array)} channel(s)",
            expected=f"{len(source.channel_names)}: {', '.join(source.channel_names)}",
            remedy="Add the missing channels, or name the channels there are.",
        )
    repair = None
    if case.mask is not None:
        folder = TEST_MASKS if case.is_test else TRAINING_MASKS
        target = raw / folder / f"{case.record.case}{ending}"
        repair = _transfer_mask(case, case.mask, source, target=target, grid=image.geometry)
    is_converted = is_mat(case.images[0]) or is_stacked_nifti(
        case.images, len(source.channel_names)
    )
    return CaseAudit(case=case.record.case, is_converted=is_converted, repair=repair)


def _transfer_image(
    case: SourceCase, source: SourceDataset, *, folder: Path, ending: str
) -> list[Path]:
    name, first = case.record.case, case.images[0]
    if is_mat(first):
        return write_mat_channels(
            first, channel_names=source.channel_names, case=name, folder=folder
        )
    num_channels = len(source.channel_names)
    if is_stacked_nifti(case.images, num_channels):
        return split_stacked_nifti(
            first, num_channels=num_channels, case=name, folder=folder, ending=ending
        )
    targets = [folder / image_name(name, c, ending) for c in range(len(case.images))]
    for path, target in zip(case.images, targets, strict=True):
        copy_synced(path, target)
    _copy_spacing(first, folder / f"{name}.json")
    return targets


def _transfer_mask(
    case: SourceCase, path: Path, source: SourceDataset, *, target: Path, grid: Geometry
) -> Repair:
    name = case.record.case
    read = read_source_mask(path)
    differing = grid.differences(read.geometry)
    if differing:
        raise DataError(
            f"case {name!r}, mask",
            found=f"another {', '.join(differing)} than its image: {_grid_text(read.geometry)}",
            expected=f"the image's grid: {_grid_text(grid)}",
            remedy="Resample the mask onto the image's grid, or correct its header.",
        )
    repaired = repair_mask(read.array[0], source.mask_value_map, case=name)
    if repaired.repair.is_needed or is_mat(path):
        write_repaired(path, target, repaired.label_map, read.geometry)
    else:
        copy_synced(path, target)
        _copy_spacing(path, target.parent / f"{name}.json")
    return repaired.repair


def _copy_spacing(source: Path, target: Path) -> None:
    """Takes the spacing file of a TIFF volume along."""
    is_tiff = source_ending(source) in TIFF_ENDINGS
    spacing = tiff_spacing_file(source) if is_tiff else None
    if spacing is not None:
        copy_synced(spacing, target)


def _grid_text(geometry: Geometry) -> str:
    spacing = ", ".join(f"{s:g}" for s in geometry.spacing_zyx_mm)
    origin = ", ".join(f"{s:g}" for s in geometry.origin_xyz_mm)
    return f"{geometry.shape_zyx} voxels of ({spacing}) mm from ({origin})"
