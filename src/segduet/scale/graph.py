"""Whether work units can stand side by side: names, needs, order and outputs."""

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from segduet.core.errors import RequestError
from segduet.scale.unit import WorkUnit


def check_graph(units: Sequence[WorkUnit], *, where: str) -> None:
    """Refuses units that no runner could bring to an end.

    Args:
        units: all of a study.
        where: the study, for messages.

    Raises:
        RequestError: two units of one name, an unknown need, a cycle, or two units that write the
            same path, or one below the other's.
    """
    _refuse_equal_names(units, where)
    _refuse_unknown_needs(units, where)
    _refuse_cycle(units, where)
    _refuse_shared_outputs(units, where)


def _refuse_equal_names(units: Sequence[WorkUnit], where: str) -> None:
    names = [unit.name for unit in units]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise RequestError(
            where,
            found=f"two units called {twice[0]!r}",
            expected="recipes, arms and configurations whose names differ",
            remedy="Rename a recipe file or an arm; names are compared in lower case.",
        )


def _refuse_unknown_needs(units: Sequence[WorkUnit], where: str) -> None:
    known = {unit.name for unit in units}
    for unit in units:
        for need in unit.needs:
            if need not in known:
                raise RequestError(
                    f"{where}, unit {unit.name!r}",
                    found=f"a need of {need!r}",
                    expected="the name of another unit of the study",
                    remedy="Correct what the unit needs.",
                )


def _refuse_cycle(units: Sequence[WorkUnit], where: str) -> None:
    try:
        TopologicalSorter({unit.name: unit.needs for unit in units}).prepare()
    except CycleError as error:
        raise RequestError(
            where,
            found=f"a circle: {' needed by '.join(error.args[1])}",
            expected="units that can be run one after the other",
            remedy="Remove one of these needs.",
        ) from error


def _refuse_shared_outputs(units: Sequence[WorkUnit], where: str) -> None:
    writers: dict[Path, str] = {}
    for unit in units:
        for output in unit.outputs:
            other = writers.setdefault(output, unit.name)
            if other != unit.name:
                raise _shared(where, output, other, unit.name)
    for output, name in writers.items():
        for folder in output.parents:
            other = writers.get(folder, name)
            if other != name:
                raise _shared(where, output, other, name)


def _shared(where: str, output: Path, first: str, second: str) -> RequestError:
    return RequestError(
        where,
        found=f"{output}, which both {first!r} and {second!r} write",
        expected="outputs of one unit each",
        remedy="Rename what the two names are made of, or give one another output folder.",
    )
