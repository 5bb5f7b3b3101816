"""What `evaluate --by` divides cases by: a column of cases.csv, their class, or a region's size."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from segduet.core.errors import RequestError
from segduet.core.files import read_csv
from segduet.core.scores import CaseScores
from segduet.core.tasks import TaskSpec

BY_CLASS = "class"
BY_VOLUME = "volume"
_TERTILES = ("small", "medium", "large")


def case_groups(
    by: Sequence[str],
    table: Path,
    cases: Sequence[CaseScores],
    regions: Sequence[str],
    tasks: Sequence[TaskSpec],
) -> dict[str, dict[str, str]]:
    """What cases are divided by -> case -> its group; cases of unknown group are left out.

    A column of the case table by its name. Unless a column is called so, `class` is the true class
    of every task with exclusive classes, and `volume` the tertile of the reference volume of every
    region, `volume:REGION` of one.

    Args:
        by: what to divide by, as the user wrote it.
        table: cases.csv, with whatever columns it has.
        cases: scored cases.
        regions: declared regions; none where no masks were scored.
        tasks: the scored questions.

    Raises:
        RequestError: no such column or region, nothing of the kind was scored, or no case has a
            value there.
        DataError: the table cannot be read.
    """
    columns, rows = read_csv(table)
    scored = {case.case for case in cases}
    found: dict[str, dict[str, str]] = {}
    for wanted in by:
        if wanted in columns and wanted != "case":
            cells = {row["case"]: row[wanted] for row in rows if row["case"] in scored}
            divided = {wanted: {case: cell for case, cell in cells.items() if cell}}
        else:
            divided = _built_in(wanted, columns, cases, regions, tasks)
        if not all(divided.values()):
            raise _refusal(wanted, "no value for any of the scored cases", columns, regions)
        found |= divided
    return found


def _built_in(
    wanted: str,
    columns: Sequence[str],
    cases: Sequence[CaseScores],
    regions: Sequence[str],
    tasks: Sequence[TaskSpec],
) -> dict[str, dict[str, str]]:
    kind, _, region = wanted.partition(":")
    divided: dict[str, dict[str, str]] = {}
    if wanted == BY_CLASS:
        divided = {t.name: _classes(cases, t.name) for t in tasks if t.has_exclusive_classes}
    elif kind == BY_VOLUME:
        divided = {
            f"{BY_VOLUME}:{name}": _tertiles(cases, name)
            for name in regions
            if region in ("", name)
        }
    if not divided:
        raise _refusal(wanted, "neither such a column nor such a division", columns, regions)
    return divided


def _classes(cases: Sequence[CaseScores], task: str) -> dict[str, str]:
    answers = {case.case: case.answers[task] for case in cases if task in case.answers}
    return {case: answer.reference for case, answer in answers.items() if answer.reference}


def _tertiles(cases: Sequence[CaseScores], region: str) -> dict[str, str]:
    """By reference volume, each named with its limits; absent regions are a group of their own."""
    volumes = {c.case: c.volumes_ml[region][0] for c in cases if region in c.volumes_ml}
    present = [volume for volume in volumes.values() if volume > 0]
    limits = np.quantile(present, [1 / 3, 2 / 3]) if present else np.zeros(2)
    names = _tertile_names(limits)
    return {
        case: "0 absent" if volume == 0 else names[int((volume > limits).sum())]
        for case, volume in volumes.items()
    }


def _tertile_names(limits: np.ndarray) -> Mapping[int, str]:
    low, high = (f"{limit:.3g} ml" for limit in limits)
    ranges = (f"up to {low}", f"above {low}, up to {high}", f"above {high}")
    named = zip(_TERTILES, ranges, strict=True)
    return {i: f"{i + 1} {name} ({limit})" for i, (name, limit) in enumerate(named)}


def _refusal(
    wanted: str, found: str, columns: Sequence[str], regions: Sequence[str]
) -> RequestError:
    own = [column for column in columns if column != "case"]
    sizes = [f"{BY_VOLUME}:{region}" for region in regions]
    return RequestError(
        f"--by {wanted}",
        found=found,
        expected=f"a column of cases.csv {own}, or one of {[BY_CLASS, BY_VOLUME, *sizes]}",
        remedy="Choose one of them, or add the column to cases.csv of the dataset.",
    )
