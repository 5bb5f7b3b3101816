"""B04: images that are one another's copy, flip, re-encoding or crop.

Two steps. Every image's coarse structure (12 to 16 cells a side) is compared with every other's,
for all flips and for crops of 0, 10 and 20 % along each axis; matrix products do it. The most
similar pairs are then confirmed: one image's structure is slid over the other's on a finer grid (96
cells a side in pictures), for the sizes about the coarse match and for unchanged pixel size.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from segduet.dataset.alignment import Flips, Shares, best_correlation, flipped, frame_of
from segduet.dataset.parallel import map_threaded
from segduet.dataset.thumbnails import Shape, Thumbnail, Window, resized, structure

#: Correlation from which two images count as the same: above that of distinct phantoms (up to 0.80
#: among 1,000), below that of crops (from 0.86); see docs/guide/checking.md.
SAME_IMAGE = 0.83

_COARSE_PICTURE: Shape = (1, 16, 16)
_COARSE_VOLUME: Shape = (6, 12, 12)
_FINE_PICTURE: Shape = (1, 96, 96)
_FINE_VOLUME: Shape = (16, 32, 32)
_COARSE_DETAIL = 2  # crops are taken from this many cells per coarse cell
_CENTRED = ((0.0, 1.0), (0.05, 0.95), (0.1, 0.9))
_ONE_SIDED = ((0.0, 0.9), (0.1, 1.0))  # of pictures only: volumes would take ten times as long
_WORTH_A_LOOK = 0.5  # coarse correlation; crops of phantoms have 0.59 and more
_MOST_PARTNERS = 8  # looked at per image
_BLOCK = 256  # images compared with all others at a time, which bounds the memory


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarPair:
    """Two images that show the same.

    Attributes:
        first, second: cases, first < second.
        correlation: of their aligned structures, `SAME_IMAGE` to 1.
    """

    first: str
    second: str
    correlation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """Part of the whole image, turned by the flips, may be the other image."""

    whole: int
    part: int
    flips: Flips
    shares: Shares
    coarse: float


def similar_pairs(thumbnails: Sequence[Thumbnail], *, workers: int = 1) -> tuple[SimilarPair, ...]:
    """Pairs of images that show the same; pictures are compared with pictures only.

    At most 8 partners per image are looked at closely, so of a large group of copies not every
    pair is named, but every member is.

    Args:
        thumbnails: one per case; the result does not depend on their order.
        workers: pairs looked at closely at the same time.
    """
    ordered = sorted(thumbnails, key=lambda t: t.case)
    found: list[SimilarPair] = []
    for is_volume in (False, True):
        group = [t for t in ordered if t.is_volume == is_volume]
        if len(group) > 1:
            found.extend(_pairs_of(group, is_volume=is_volume, workers=workers))
    return tuple(sorted(found, key=lambda p: (p.first, p.second)))


def _pairs_of(
    group: Sequence[Thumbnail], *, is_volume: bool, workers: int
) -> Iterator[SimilarPair]:
    parts_of: dict[int, list[_Candidate]] = defaultdict(list)
    for candidate in _candidates(group, is_volume=is_volume):
        parts_of[candidate.whole].append(candidate)
    fine = _FINE_VOLUME if is_volume else _FINE_PICTURE
    confirmed = map_threaded(
        lambda whole: list(_confirmed(group, whole, parts_of[whole], fine)),
        parts_of,
        workers=workers,
    )
    return (pair for pairs in confirmed for pair in pairs)


def _confirmed(
    group: Sequence[Thumbnail], whole: int, candidates: Sequence[_Candidate], fine: Shape
) -> Iterator[SimilarPair]:
    frame = frame_of(group[whole], fine)
    for candidate in candidates:
        part = group[candidate.part]
        turned = flipped(part.array, candidate.flips)
        correlation = best_correlation(frame, turned, part.shape_zyx, candidate.shares)
        if correlation >= SAME_IMAGE:
            first, second = sorted((group[whole].case, part.case))
            yield SimilarPair(first=first, second=second, correlation=min(1.0, correlation))


def _candidates(group: Sequence[Thumbnail], *, is_volume: bool) -> list[_Candidate]:
    """Each unordered pair once, the way round it matches better."""
    coarse = _COARSE_VOLUME if is_volume else _COARSE_PICTURE
    detail = [_COARSE_DETAIL * n if n > 1 else n for n in coarse]
    images = np.stack([resized(t.array, detail) for t in group])
    parts = _unit_rows(structure(resized(images, coarse)))
    best: dict[tuple[int, int], _Candidate] = {}
    for start in range(0, len(group), _BLOCK):
        block = images[start : start + _BLOCK]
        for found in _matches(block, start, parts, coarse, is_volume=is_volume):
            pair = min(found.whole, found.part), max(found.whole, found.part)
            if pair not in best or found.coarse > best[pair].coarse:
                best[pair] = found
    return list(best.values())


def _matches(
    wholes: np.ndarray, start: int, parts: np.ndarray, coarse: Shape, *, is_volume: bool
) -> Iterator[_Candidate]:
    """The parts most similar to each of some images, of which `start` is the first one's index."""
    crops, turns = _crops(is_volume=is_volume), _all_flips(is_volume=is_volume)
    best = np.full((len(wholes), len(parts)), -1.0, np.float32)
    how = np.zeros(best.shape, np.int16)
    for crop, windows in enumerate(crops):
        views = structure(resized(wholes, coarse, windows))
        for turn, flips in enumerate(turns):
            similarity = _unit_rows(flipped(views, flips)) @ parts.T
            better = similarity > best + 1e-6
            best[better], how[better] = similarity[better], crop * len(turns) + turn
    best[np.arange(len(wholes)), start + np.arange(len(wholes))] = -1.0  # no image with itself
    nearest = np.argsort(-best, axis=1, kind="stable")[:, :_MOST_PARTNERS]
    for row, columns in enumerate(nearest):
        for column in columns[best[row, columns] >= _WORTH_A_LOOK]:
            crop, turn = divmod(int(how[row, column]), len(turns))
            z, y, x = (round(stop - begin, 6) for begin, stop in crops[crop])
            yield _Candidate(
                whole=start + row,
                part=int(column),
                flips=turns[turn],
                shares=(z, y, x),
                coarse=float(best[row, column]),
            )


def _crops(*, is_volume: bool) -> list[tuple[Window, Window, Window]]:
    """Parts of an image that are tried, a window per axis."""
    in_plane = _CENTRED if is_volume else _CENTRED + _ONE_SIDED
    return list(product(_CENTRED if is_volume else _CENTRED[:1], in_plane, in_plane))


def _all_flips(*, is_volume: bool) -> list[Flips]:
    return list(product((False, True) if is_volume else (False,), (False, True), (False, True)))


def _unit_rows(views: np.ndarray) -> np.ndarray:
    rows = views.reshape(len(views), -1)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: np.ndarray = rows / np.where(norms > 0, norms, 1)
    return unit
