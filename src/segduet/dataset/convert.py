"""Image files nnU-Net cannot read as they are, converted without loss.

MATLAB frames become one float32 TIFF per channel: nnU-Net reads those as 2D images, and unlike PNG
they hold any float. 4D NIfTI files, as in the Medical Segmentation Decathlon, become one 3D file
per channel with the same stored numbers.
"""

from pathlib import Path

import nibabel as nib
import numpy as np
import tifffile

from segduet.core.errors import DataError
from segduet.core.volume import Volume
from segduet.io.images import read_image, read_label_map
from segduet.io.matlab import MAT_ENDING, read_mat_image, read_mat_mask
from segduet.io.names import file_ending, image_name
from segduet.io.nifti import NIFTI_ENDINGS


def is_mat(path: Path) -> bool:
    """Whether the file is a MATLAB file, by name."""
    return path.name.lower().endswith(MAT_ENDING)


def source_ending(path: Path) -> str:
    """The ending of a user's file, `.mat` included.

    Raises:
        DataError: no format we read.
    """
    return MAT_ENDING if is_mat(path) else file_ending(path)


def raw_ending(example: Path) -> str:
    """The ending a dataset of such images has once it is nnU-Net's.

    nnU-Net reads `.tiff` as volumes only, so 2D pictures of that ending are named `.tif`.

    Raises:
        DataError: no format we read, or the file is damaged.
    """
    ending = source_ending(example)
    if ending == MAT_ENDING:
        return ".tif"
    if ending == ".tiff" and read_image([example]).geometry.num_spatial_dims == 2:
        return ".tif"
    return ending


def read_source_mask(path: Path) -> Volume:
    """Reads a user's mask, values not rounded.

    Raises:
        DataError: as `read_label_map` and `read_mat_mask`.
    """
    return read_mat_mask(path) if is_mat(path) else read_label_map(path)


def is_stacked_nifti(images: tuple[Path, ...], num_channels: int) -> bool:
    """Whether one NIfTI file should hold all channels along its fourth axis."""
    is_nifti = images[0].name.lower().endswith(NIFTI_ENDINGS)
    return is_nifti and len(images) == 1 and num_channels > 1


def write_mat_channels(
    source: Path, *, channel_names: tuple[str, ...], case: str, folder: Path
) -> list[Path]:
    """Writes every channel of a MATLAB frame as a float32 TIFF; returns the files.

    Raises:
        DataError: damaged, or its channels are not those of the dataset.
        OSError: a file could not be written.
    """
    image = read_mat_image(source)
    if len(image.channel_names) != len(channel_names):
        raise DataError(
            f"{case}, {source}",
            found=f"the channels {', '.join(image.channel_names)}",
            expected=f"{len(channel_names)} channels: {', '.join(channel_names)}",
            remedy="Save all frames with the same variables, or leave this one out.",
        )
    targets = [folder / image_name(case, c, ".tif") for c in range(len(channel_names))]
    for target, channel in zip(targets, image.volume.array, strict=True):
        tifffile.imwrite(target, channel[0], photometric="minisblack")
    return targets


def split_stacked_nifti(
    source: Path, *, num_channels: int, case: str, folder: Path, ending: str
) -> list[Path]:
    """Writes every channel of a 4D NIfTI as a 3D one with the same header; returns the files.

    Raises:
        DataError: damaged, or another number of channels.
        OSError: a file could not be written.
    """
    image = nib.load(source)
    if image.ndim != 4 or image.shape[3] != num_channels:
        raise DataError(
            f"{case}, {source}",
            found=f"an image of shape {image.shape} (x, y, z, channels)",
            expected=f"{num_channels} channels",
            remedy="Correct the channel names, or leave the case out.",
        )
    stored = image.dataobj.get_unscaled()
    targets = [folder / image_name(case, c, ending) for c in range(num_channels)]
    for channel, target in enumerate(targets):
        values = np.ascontiguousarray(stored[..., channel])
        single = nib.Nifti1Image(values, image.affine, image.header)
        # with a scaling in the header nibabel stores the numbers as they are
        single.header.set_slope_inter(image.dataobj.slope, image.dataobj.inter)
        nib.save(single, target)
    return targets
