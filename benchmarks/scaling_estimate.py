"""What a 5-fold study of 3,000 CTs and a programme of one million CTs a year need, on paper.

Usage: python benchmarks/scaling_estimate.py [--check]

Reads measured unit costs from docs/results, multiplies them by the assumptions below, and writes
the tables of docs/scaling.md between its two markers (`--check` only compares). What was never
measured says so.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segduet.core.files import read_json, write_text

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "scaling.md"
BEGIN, END = "<!-- tables: python benchmarks/scaling_estimate.py -->", "<!-- end of tables -->"
NOT_MEASURED = "not measured"

#: Voxels of a window of the ACDC plan (20 x 112 x 112) that the unit costs were measured with.
MEASURED_WINDOW_MVOX = 20 * 112 * 112 / 1e6
#: Windows of a training step under that plan.
MEASURED_BATCH = 2
#: Cores of the machine of both results, all used.
MEASURED_CORES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What was assumed, not measured.

    Attributes:
        ct_zyx: voxels of a CT on the grid of the plan.
        window_zyx: of the plan.
        batch: windows of a training step.
        steps_per_fold: the default recipe's 200 epochs of 250 steps.
        folds: of the study.
        study_cts: cases of the study, each predicted once, by the fold that has not seen it.
        programme_cts: cases a year.
        utilisation: share of the year in which a core computes.
        peak: cases in the busiest hour over those in a mean hour.
        price_core_hour: in euros.
        price_tb_month: of storage, in euros.
    """

    ct_zyx: tuple[int, int, int] = (150, 512, 512)
    window_zyx: tuple[int, int, int] = (64, 128, 128)
    batch: int = 2
    steps_per_fold: int = 50_000
    folds: int = 5
    study_cts: int = 3_000
    programme_cts: int = 1_000_000
    utilisation: float = 0.6
    peak: float = 3.0
    price_core_hour: float = 0.04
    price_tb_month: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCosts:
    """Measured: core-seconds for a million voxels of a window, through the network once.

    Attributes:
        training: forward, backward and all around it, of one window of a step.
        prediction: number format -> forward.
    """

    training: float
    prediction: Mapping[str, float]


def windows_along(size: int, window: int) -> int:
    """Windows along an axis where neighbours overlap by half, as nnU-Net lays them."""
    return math.ceil(max(size - window, 0) / (window / 2)) + 1


def windows_of(size_zyx: Sequence[int], window_zyx: Sequence[int]) -> int:
    """Windows of an image."""
    return math.prod(windows_along(s, w) for s, w in zip(size_zyx, window_zyx, strict=True))


def mvox(shape_zyx: Sequence[int]) -> float:
    """Millions of voxels."""
    return math.prod(shape_zyx) / 1e6


def training_core_hours(costs: UnitCosts, given: Assumptions) -> float:
    """All folds of the study."""
    step = costs.training * given.batch * mvox(given.window_zyx)
    return given.folds * given.steps_per_fold * step / 3600


def core_seconds_per_ct(cost: float, given: Assumptions, *, mirrored: bool) -> float:
    """One CT through one network: every window once, or in all eight mirrorings."""
    passes = 8 if mirrored else 1
    windows = windows_of(given.ct_zyx, given.window_zyx)
    return cost * mvox(given.window_zyx) * windows * passes


def cores_for(core_hours_a_year: float, given: Assumptions) -> int:
    """Cores that bear the busiest hour, and the year at the given utilisation."""
    mean = core_hours_a_year / (365 * 24)
    return math.ceil(mean * max(given.peak, 1 / given.utilisation))


def storage_tb(cts: int, bytes_per_voxel: int, given: Assumptions) -> float:
    """Uncompressed, so an upper bound."""
    return cts * math.prod(given.ct_zyx) * bytes_per_voxel / 1e12


def read_costs(results: Path) -> UnitCosts:
    """Unit costs from the results of ACDC."""
    trained = read_json(results / "acdc_joint_vs_stock.json")["figures"]
    voxels = trained["iterations"]["joint"] * MEASURED_BATCH * MEASURED_WINDOW_MVOX
    found = read_json(results / "int8_accuracy.json")["figures"]["acdc"]
    doubt = {} if found["passes_default_bounds"] else {"int8": "int8 (failed its accuracy gate)"}
    return UnitCosts(
        training=trained["joint_cpu_minutes"] * 60 / voxels,
        prediction={
            doubt.get(name, name): time["median"] / 1000 * MEASURED_CORES / MEASURED_WINDOW_MVOX
            for name, time in found["ms_per_window"].items()
        },
    )


def tables(costs: UnitCosts, given: Assumptions) -> str:
    """The tables of the page."""
    return "\n\n".join(
        [_cost_table(costs), _study_table(costs, given), _programme_table(costs, given)]
    )


def _cost_table(costs: UnitCosts) -> str:
    rows = [
        ("training, bf16", f"{costs.training:.2f}", "acdc_joint_vs_stock.json"),
        *(
            (f"prediction, {name}", f"{cost:.2f}", "int8_accuracy.json")
            for name, cost in costs.prediction.items()
        ),
        ("training or prediction on a GPU", NOT_MEASURED, "-"),
    ]
    return _table(("unit cost", "core-seconds per million voxels of window", "from"), rows)


def _study_table(costs: UnitCosts, given: Assumptions) -> str:
    training = training_core_hours(costs, given)
    per_ct = core_seconds_per_ct(costs.prediction["bf16"], given, mirrored=True)
    validation = per_ct * given.study_cts / 3600
    total = training + validation
    stored = storage_tb(given.study_cts, 2 + 4 + 1, given)
    rows = [
        ("training, core-hours", f"{training:,.0f}"),
        ("out-of-fold prediction, bf16, mirrored, core-hours", f"{validation:,.0f}"),
        ("together, core-hours", f"{total:,.0f}"),
        ("money for them, euros", f"{total * given.price_core_hour:,.0f}"),
        ("hours on 64 cores (5 folds side by side, then prediction)", f"{total / 64:,.0f}"),
        ("storage: CT, prepared CT and mask, TB", f"{stored:.1f}"),
        ("GPU-hours", NOT_MEASURED),
    ]
    return _table((f"{given.folds}-fold study of {given.study_cts:,} CTs", "needs"), rows)


def _programme_table(costs: UnitCosts, given: Assumptions) -> str:
    rows = []
    for name, cost in costs.prediction.items():
        for mirrored in (True, False):
            seconds = core_seconds_per_ct(cost, given, mirrored=mirrored)
            hours = seconds * given.programme_cts / 3600
            rows.append(
                (
                    f"{name}, {'mirrored' if mirrored else 'one pass'}",
                    f"{seconds:,.0f}",
                    f"{hours:,.0f}",
                    f"{cores_for(hours, given):,}",
                    f"{hours * given.price_core_hour:,.0f}",
                )
            )
    rows.append(("on GPUs", *[NOT_MEASURED] * 4))
    head = (
        f"{given.programme_cts:,} CTs a year, one network",
        *("core-seconds a CT", "core-hours a year", "cores", "euros a year"),
    )
    masks = storage_tb(given.programme_cts, 1, given)
    cts = storage_tb(given.programme_cts, 2, given)
    price = (masks + cts) * 12 * given.price_tb_month
    storage = (
        f"Storage of a year: {cts:.0f} TB of CTs, {masks:.0f} TB of masks at most, uncompressed; "
        f"kept for a year {price:,.0f} euros."
    )
    return _table(head, rows) + "\n\n" + storage


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def filled(page: str, made: str) -> str:
    """The page with these tables between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def main() -> None:
    """Fills the page, or compares it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    new = filled(page, tables(read_costs(REPOSITORY / "docs" / "results"), Assumptions()))
    if check:
        sys.exit("docs/scaling.md is out of date: run this without --check" if new != page else 0)
    write_text(PAGE, new)
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
