"""B04: how many planted leaks, duplicates and telling names does `segduet check` find?

Usage: python benchmarks/planted_findings.py --work DIR [--quick]

Phantoms of the demo (pancreas volumes, nerve pictures), every change of `planted_cases.py` applied
to each: all are compared with one another, and a planted copy counts as found where the pair with
its original is named. Folds and names are drawn. The same search over the demo's own datasets, of
three seeds, must name no pair, sound folds no patient and shuffled labels no class.

Bars (issue 5): leaks and duplicates 100 %, crops and telling names 95 %, and no false alarm.
Writes docs/results/planted_findings.json. Finished parts are kept in DIR and not run again; --quick
takes a tenth of the cases and writes nothing but DIR.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from planted_cases import CHANGES, TASK, named_cases, planted_folds
from results_file import write_result
from segduet.core.files import read_json, write_json
from segduet.dataset.duplicates import SAME_IMAGE, similar_pairs
from segduet.dataset.findings import FindingKind
from segduet.dataset.fold_check import check_folds
from segduet.dataset.folds import write_splits
from segduet.dataset.name_leak import class_in_names
from segduet.dataset.phantoms.pancreas import PancreasPhantomConfig, generate_pancreas_case
from segduet.dataset.phantoms.ultrasound import (
    NerveUltrasoundConfig,
    draw_patient_style,
    generate_nerve_case,
)
from segduet.dataset.thumbnails import Thumbnail, thumbnail

NUM_PLANTED = 100
SEEDS = (0, 1, 2)
#: Images of the demo's two datasets.
NUM_DISTINCT = {"volume": 126, "picture": 180}
BARS = {"crop": 0.95, "enlarged_crop": 0.95, "class_in_file_name": 0.95}
_IMAGES_PER_PATIENT = 6

Part = Callable[[], dict[str, Any]]


def main() -> None:
    """Runs every part that is not there yet and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a tenth of the cases, no result")
    arguments = parser.parse_args()
    work = arguments.work / ("quick" if arguments.quick else "full")
    share = 10 if arguments.quick else 1
    figures = {name: _kept(work, name, part) for name, part in _parts(arguments, work, share)}
    for name, figure in figures.items():
        print(name, figure)
    if not arguments.quick:
        passed = all(figure["passed"] for figure in figures.values())
        summary = {"passed": passed, "threshold": SAME_IMAGE, **figures, "selected_from": 1}
        print(write_result("planted_findings", seeds=SEEDS, figures=summary), passed)


def _parts(arguments: argparse.Namespace, work: Path, share: int) -> list[tuple[str, Part]]:
    workers, num_planted = arguments.workers, NUM_PLANTED // share
    parts: list[tuple[str, Part]] = [
        ("patient_in_two_folds", lambda: _leaks(work, num_planted)),
        ("class_in_file_name", lambda: _names(num_planted)),
    ]
    for kind, num_distinct in NUM_DISTINCT.items():
        parts.extend(
            (f"{kind}_{change}", lambda k=kind, c=change: _duplicates(k, c, num_planted, workers))
            for change in CHANGES
        )
        number = num_distinct // share
        parts.append((f"{kind}_distinct", lambda k=kind, n=number: _distinct(k, n, workers)))
    return parts


def _kept(work: Path, name: str, part: Part) -> dict[str, Any]:
    """The figure of a part, from its file where it has run."""
    path = work / f"{name}.json"
    if not path.is_file():
        started = time.process_time()
        write_json(path, {**part(), "cpu_seconds": round(time.process_time() - started, 1)})
    return dict(read_json(path))


def _leaks(work: Path, number: int) -> dict[str, Any]:
    found = num_false = 0
    for seed in range(number):
        planted = planted_folds(np.random.default_rng([1, seed]))
        path = work / "splits_final.json"
        write_splits(path, planted.leaking)
        _, findings = check_folds(path, planted.records)
        found += [f.kind for f in findings if repr(planted.leaked) in f.message] == [
            FindingKind.PATIENTS
        ]
        write_splits(path, planted.sound)
        num_false += len(check_folds(path, planted.records)[1])
    return _figure("patient_in_two_folds", found, number, num_false, number)


def _names(number: int) -> dict[str, Any]:
    drawn = [np.random.default_rng([2, seed]) for seed in range(number)]
    found = [class_in_names(named_cases(rng, tells_class=True), TASK) for rng in drawn]
    false = [class_in_names(named_cases(rng, tells_class=False), TASK) for rng in drawn]
    num_false = sum(leak is not None for leak in false)
    return _figure(
        "class_in_file_name", sum(leak is not None for leak in found), number, num_false, number
    )


def _duplicates(kind: str, change: str, number: int, workers: int) -> dict[str, Any]:
    """One changed copy of every phantom, all compared with all."""
    images = _phantoms(kind, number, seed=SEEDS[0])
    small = [_thumbnail(f"{i:04d}", image) for i, image in enumerate(images)]
    for index, image in enumerate(images):
        altered = CHANGES[change](image, np.random.default_rng([3, index]))
        small.append(_thumbnail(f"{index:04d} changed", altered))
    pairs = similar_pairs(small, workers=workers)
    right = [p for p in pairs if p.second == f"{p.first} changed"]
    figure = _figure(change, len(right), number, len(pairs) - len(right), len(small))
    return {**figure, "least_correlation": min((p.correlation for p in right), default=None)}


def _distinct(kind: str, number: int, workers: int) -> dict[str, Any]:
    """Pairs named in the demo's dataset of every seed, in which no two images are the same."""
    false_pairs = []
    for seed in SEEDS:
        images = _phantoms(kind, number, seed=seed)
        small = [_thumbnail(f"{i:04d}", image) for i, image in enumerate(images)]
        false_pairs.append(len(similar_pairs(small, workers=workers)))
    return {"false_pairs": false_pairs, "images_each": number, "passed": not any(false_pairs)}


def _phantoms(kind: str, number: int, *, seed: int) -> list[np.ndarray]:
    """(Z, Y, X) images as the demo draws them: nerve pictures of a patient share their style."""
    if kind == "volume":
        volume = PancreasPhantomConfig.demo()
        return [
            generate_pancreas_case(volume, subtype=i % 3, seed=_seed(seed, 0, i)).image
            for i in range(number)
        ]
    picture = NerveUltrasoundConfig.demo()
    return [
        generate_nerve_case(
            picture,
            nerve_class=i % 3,
            seed=_seed(seed, 1, i),
            style=draw_patient_style(picture, seed=_seed(seed, 2, i // _IMAGES_PER_PATIENT)),
        ).image[None]
        for i in range(number)
    ]


def _seed(*path: int) -> int:
    return int(np.random.SeedSequence(path).generate_state(1, np.uint64)[0])


def _thumbnail(case: str, image: np.ndarray) -> Thumbnail:
    small = thumbnail(case, image[None])
    assert small is not None, case
    return small


def _figure(kind: str, found: int, number: int, num_false: int, num_sound: int) -> dict[str, Any]:
    """Share found with its exact (Clopper-Pearson) interval, and false alarms."""
    interval = binomtest(found, number).proportion_ci()
    bar = BARS.get(kind, 1.0)
    return {
        "value": found / number,
        "ci95": [round(float(interval.low), 4), round(float(interval.high), 4)],
        "n": number,
        "bar": bar,
        "false_alarms": {"value": num_false, "n": num_sound},
        "passed": found >= bar * number and num_false == 0,
    }


if __name__ == "__main__":
    main()
