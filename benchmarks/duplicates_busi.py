"""Near-duplicates found in BUSI against the known groups and label conflicts (B04).

Usage: python benchmarks/duplicates_busi.py --data ../shared/data

Pairs over all images of `busi_256`. The known groups (`patient`: images linked by a correlation of
grey values above 0.90) and `label_conflict` come with the data and are not ours. That correlation
is high for any two images that fade to black alike, so recall is given for two references: every
member of a known group, and those whose grey values correlate by 0.95 or more with another
member's. A member counts as found where a named pair joins it to another member. Named pairs of two
groups are listed: either false alarms or copies the known groups lack. The threshold is the one set
on phantoms. Writes docs/results/duplicates_busi.json.
"""

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from results_file import write_result
from segduet.core.files import read_csv
from segduet.dataset.duplicates import SAME_IMAGE, SimilarPair, similar_pairs
from segduet.dataset.thumbnails import resized, thumbnail
from segduet.io.images import read_image

Rows = Sequence[Mapping[str, str]]
_GREY_GRID = (1, 64, 64)
_CLOSE = 0.95


def main() -> None:
    """Reads, compares, counts, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    root = arguments.data / "busi_256"
    _, rows = read_csv(root / "cases.csv")
    started = time.perf_counter()
    images = {r["case"]: read_image([root / "images" / f"{r['case']}.png"]).array for r in rows}
    small = [thumbnail(case, image) for case, image in images.items()]
    pairs = similar_pairs([s for s in small if s is not None], workers=arguments.workers)
    seconds = time.perf_counter() - started
    figures = {
        **_compared(rows, pairs, _members_with_a_close_one(rows, images)),
        "threshold": SAME_IMAGE,
        "seconds": round(seconds, 1),
        "selected_from": 1,
    }
    print(write_result("duplicates_busi", seeds=[], figures=figures))


def _compared(rows: Rows, pairs: Sequence[SimilarPair], close: set[str]) -> dict[str, Any]:
    """Counts over known groups, conflicts and found pairs."""
    group_of = {row["case"]: row["patient"] for row in rows}
    class_of = {row["case"]: row["class"] for row in rows}
    twins = _twins(pairs)
    sizes = Counter(group_of.values())
    members = {case for case, group in group_of.items() if sizes[group] > 1}
    joined = {c for c in members if any(group_of[t] == group_of[c] for t in twins[c])}
    flagged = {row["case"] for row in rows if row["label_conflict"] == "1"}
    conflicts = {c for c in group_of if any(class_of[t] != class_of[c] for t in twins[c])}
    across = [p for p in pairs if group_of[p.first] != group_of[p.second]]
    num_groups = len({group_of[case] for case in members})
    return {
        "images": len(rows),
        "pairs_found": len(pairs),
        "groups_with_every_member_found": _share(
            num_groups - len({group_of[c] for c in members - joined}), num_groups
        ),
        "groups_found": _share(len({group_of[c] for c in joined}), num_groups),
        "members_found": _share(len(joined), len(members)),
        "members_with_a_close_one_found": _share(len(joined & close), len(close)),
        "conflicts_found": _share(len(conflicts & flagged), len(flagged)),
        "conflicts_not_known": sorted(conflicts - flagged),
        "members_missed": sorted(members - joined),
        "pairs_across_groups": [[p.first, p.second, round(p.correlation, 3)] for p in across],
    }


def _twins(pairs: Sequence[SimilarPair]) -> defaultdict[str, set[str]]:
    twins: defaultdict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        twins[pair.first].add(pair.second)
        twins[pair.second].add(pair.first)
    return twins


def _members_with_a_close_one(rows: Rows, images: Mapping[str, np.ndarray]) -> set[str]:
    """Cases whose grey values correlate by 0.95 or more with those of another of their group."""
    group_of = np.array([row["patient"] for row in rows])
    grey = np.stack([resized(images[r["case"]][0], _GREY_GRID).ravel() for r in rows])
    is_close = (np.corrcoef(grey) >= _CLOSE) & (group_of[:, None] == group_of)
    np.fill_diagonal(is_close, val=False)
    return {row["case"] for row, close in zip(rows, is_close.any(axis=1), strict=True) if close}


def _share(found: int, number: int) -> dict[str, Any]:
    return {"value": found / number, "found": found, "n": number}


if __name__ == "__main__":
    main()
