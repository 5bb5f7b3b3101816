"""Arrays on disk that are read patch by patch: Blosc2, as nnU-Net writes them."""

import os
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

from segduet.core.errors import DataError
from segduet.core.files import atomic_path

#: Fits the second-level cache of one core.
_MAX_BLOCK_BYTES = 128 * 1024

Shape = tuple[int, int, int]


def write_array(path: Path, array: np.ndarray, patch_zyx: Shape) -> None:
    """Writes a (C, Z, Y, X) or (Z, Y, X) array atomically, in chunks about the size of a patch.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    channels = (1,) * (array.ndim - 3)
    shape = array.shape[-3:]
    blocks = _blocks(shape, patch_zyx, array.itemsize)
    chunks = [
        min(size, block * -(-min(patch, size) // block))
        for size, patch, block in zip(shape, patch_zyx, blocks, strict=True)
    ]
    with atomic_path(path) as temporary:
        try:
            blosc2.asarray(
                np.ascontiguousarray(array),
                urlpath=str(temporary),
                mode="w",
                chunks=(*channels, *chunks),
                blocks=(*channels, *blocks),
                cparams={"codec": blosc2.Codec.LZ4HC, "clevel": 5, "nthreads": 1},
            )
        except RuntimeError as error:  # what blosc2 makes of a full disk
            raise OSError(str(error)) from error


def _blocks(shape: tuple[int, ...], patch_zyx: Shape, itemsize: int) -> list[int]:
    """The patch, with its longest axis halved until the block is small enough."""
    blocks = [min(size, patch) for size, patch in zip(shape, patch_zyx, strict=True)]
    while np.prod(blocks) * itemsize > _MAX_BLOCK_BYTES:
        longest = int(np.argmax(blocks))
        blocks[longest] = -(-blocks[longest] // 2)
    return blocks


def open_array(
    path: Path, *, remedy: str = "Delete the case's files and run `segduet preprocess` again."
) -> Any:
    """Opens an array without reading it; slicing gives numpy.

    Args:
        path: the file.
        remedy: how it can be made again.

    Raises:
        DataError: missing or damaged.
    """
    # Mapped files cannot be replaced on Windows (nnU-Net issue 2723).
    mapping = {} if os.name == "nt" else {"mmap_mode": "r"}
    try:
        return blosc2.open(str(path), mode="r", dparams={"nthreads": 1}, **mapping)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(
            str(path),
            found=f"no readable array ({error})",
            expected="a Blosc2 array",
            remedy=remedy,
        ) from error
