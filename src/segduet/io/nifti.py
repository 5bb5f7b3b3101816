"""NIfTI-1 files of the usual kind, read and written without ITK; axes are z, y, x.

Importing ITK takes longer than reading most images. What is less usual (two files, NIfTI-2, other
byte orders, 2D, axes that the header gives in contradictory ways) is left to it, see `itk.py`.
Headers are nibabel's; voxels are unpacked straight into their array, and packed side by side.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from segduet.core.geometry import Geometry
from segduet.core.threads import for_each
from segduet.io.nifti_header import NiftiHeader, written_header

NIFTI_ENDINGS = (".nii.gz", ".nii")

#: Compressed bytes that are unpacked together: what becomes of them stays in the cache.
_PIECE = 2**16
#: Deflate makes at most so many bytes of one.
_LARGEST_EXPANSION = 1032

#: Bytes that a thread packs at a time.
_PART = 2**22
#: Fastest. A label map is mostly runs: looking for nothing else packs it faster and smaller.
_LEVEL, _MOST_MEMORY = 1, 9
#: Deflate, no name, no time, unknown system.
_GZIP_BEGIN = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def read_nifti(path: Path) -> tuple[np.ndarray, Geometry] | None:
    """Reads a NIfTI file of the usual kind; None where ITK should read it.

    Returns:
        (Z, Y, X) of the stored type, float32 where the header scales the values; and the grid.

    Raises:
        OSError: it cannot be read.
        EOFError: it was cut short.
        zlib.error: it is damaged.
    """
    with path.open("rb") as stream:
        pieces = _unzipped(stream) if path.name.lower().endswith(".gz") else _pieces(stream)
        first = next(pieces, b"")
        header = NiftiHeader.parse(first)
        if header is None:
            return None
        _require_room(path, header)
        stored = np.empty(header.geometry.shape_zyx, header.dtype)
        _fill(stored, first[header.offset :], pieces, left_out=max(header.offset - len(first), 0))
    return header.scaled(stored), header.geometry


def write_nifti(path: Path, array: np.ndarray, geometry: Geometry) -> bool:
    """Writes an array and its grid; not atomic.

    Args:
        path: target; compressed where it ends in `.gz`.
        array: (Z, Y, X).
        geometry: its grid.

    Returns:
        Whether it was written; False for grids and types that are left to ITK.

    Raises:
        OSError: it could not be written.
    """
    header = written_header(array, geometry)
    if header is None:
        return False
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    with path.open("wb") as stream:
        is_zipped = path.name.lower().endswith(".gz")
        strategy = zlib.Z_RLE if array.dtype == np.uint8 else zlib.Z_DEFAULT_STRATEGY
        for part in _zipped(header, content, strategy) if is_zipped else (header, content):
            stream.write(part)
    return True


def _require_room(path: Path, header: NiftiHeader) -> None:
    """Checks that the file can hold its voxels, before memory is taken for them.

    Raises:
        EOFError: it is too short.
    """
    size = path.stat().st_size
    largest = size * _LARGEST_EXPANSION if path.name.lower().endswith(".gz") else size
    needed = math.prod(header.geometry.shape_zyx) * header.dtype.itemsize
    if needed + header.offset > largest:
        raise EOFError(f"{size} bytes cannot hold {needed} bytes of voxels")


def _fill(stored: np.ndarray, first: bytes, pieces: Iterator[bytes], *, left_out: int) -> None:
    """Writes the voxels of a file into an array, and reads the file to its end, which is checked.

    Raises:
        EOFError: there are too few.
    """
    target = stored.reshape(-1).view(np.uint8).data
    filled = 0
    for piece in _after(first, pieces, left_out):
        wanted = piece[: len(target) - filled]
        target[filled : filled + len(wanted)] = wanted
        filled += len(wanted)
    if filled < len(target):
        raise EOFError(f"{len(target) - filled} bytes of the voxels are missing")


def _after(first: bytes, pieces: Iterator[bytes], left_out: int) -> Iterator[memoryview]:
    yield memoryview(first)
    for piece in pieces:
        yield memoryview(piece)[left_out:]
        left_out = max(left_out - len(piece), 0)


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(_PIECE):
        yield piece


def _unzipped(stream: BinaryIO) -> Iterator[bytes]:
    """What is in all members of a gzip file, checked; each piece begins where the last ended.

    Raises:
        zlib.error: damaged.
        EOFError: cut short.
    """
    unzip = None
    for packed in _pieces(stream):
        rest = packed
        while rest:
            if unzip is None or unzip.eof:
                # behind a member there may be any number of zeros
                rest = rest.lstrip(b"\0") if unzip else rest
                if not rest:
                    break
                unzip = zlib.decompressobj(wbits=zlib.MAX_WBITS + 16)
            if piece := unzip.decompress(rest):
                yield piece
            rest = unzip.unused_data
    if unzip and not unzip.eof:
        raise EOFError("the compressed file was cut short")


def _zipped(header: bytes, content: memoryview, strategy: int) -> Iterator[bytes]:
    """One gzip member (RFC 1952) whose parts are packed side by side."""
    starts = range(0, max(len(content), 1), _PART)
    parts = [content[start : start + _PART] for start in starts]
    packed = [b""] * len(parts)

    def pack(number: int) -> None:
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, _MOST_MEMORY, strategy)
        begin = packer.compress(header) if number == 0 else b""
        # packed without what lies before, so that parts can simply follow each other
        end = zlib.Z_FINISH if number == len(parts) - 1 else zlib.Z_FULL_FLUSH
        packed[number] = begin + packer.compress(parts[number]) + packer.flush(end)

    for_each(pack, range(len(parts)))
    checksum = zlib.crc32(content, zlib.crc32(header))
    yield _GZIP_BEGIN
    yield from packed
    yield struct.pack("<II", checksum, (len(header) + len(content)) % 2**32)
