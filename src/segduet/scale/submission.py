"""A study on its way to an engine: what every engine's files or tasks are made from."""

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from segduet.core.errors import RequestError
from segduet.scale.unit import Resources, WorkUnit

#: A job's name is a DNS label (RFC 1123).
_LONGEST_NAME = 63
#: Other characters would need quoting in some engine's file, so names that hold them are refused.
_PLAIN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._/:@+-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Units of a study, and the command that runs one of them.

    Attributes:
        name: of the study, in the form of a unit's name.
        study: the study file, absolute, as the machines that run units see it.
        units: those to be run; needs that are not among them are complete.
        program: how segduet is started there.
        retries: how often an engine starts a unit again after a crash or our own failure (exit code
            1); a bad request (2) is not tried again.
    """

    name: str
    study: Path
    units: tuple[WorkUnit, ...]
    program: tuple[str, ...] = ("segduet",)
    retries: int = 2

    def job_name(self, unit_name: str) -> str:
        """A name that is unique among studies; a long one is cut to 63 characters with a hash."""
        name = f"{self.name}-{unit_name}"
        if len(name) <= _LONGEST_NAME:
            return name
        ending = hashlib.sha256(name.encode()).hexdigest()[:8]
        return f"{name[: _LONGEST_NAME - 9].rstrip('-')}-{ending}"

    def command(self, unit_name: str) -> tuple[str, ...]:
        """The command of one unit; running it again does no harm."""
        return (*self.program, "run", str(self.study), "--only", unit_name)


def dependency_levels(units: Sequence[WorkUnit]) -> list[list[WorkUnit]]:
    """Units in levels: all that a unit needs lies in levels before its own.

    Order within a level is that of `units`; needs that are not among the units are complete.

    Raises:
        graphlib.CycleError: units need each other; a study that was expanded has none.
    """
    by_name = {unit.name: unit for unit in units}
    sorter = TopologicalSorter(
        {unit.name: [name for name in unit.needs if name in by_name] for unit in units}
    )
    sorter.prepare()
    levels = []
    while sorter.is_active():
        ready = set(sorter.get_ready())
        levels.append([unit for unit in units if unit.name in ready])
        sorter.done(*ready)
    return levels


def alike(units: Sequence[WorkUnit]) -> list[tuple[Resources, list[WorkUnit]]]:
    """Units gathered by what they may use, in order of first appearance."""
    groups: dict[Resources, list[WorkUnit]] = {}
    for unit in units:
        groups.setdefault(unit.resources, []).append(unit)
    return list(groups.items())


def whole_gpus(unit: WorkUnit, engine: str) -> int:
    """The number of devices of a unit.

    Raises:
        RequestError: a fraction, which this engine cannot give.
    """
    if unit.resources.gpus != int(unit.resources.gpus):
        raise RequestError(
            f"work unit '{unit.name}'",
            found=f"{unit.resources.gpus} of a GPU",
            expected=f"a whole number of GPUs on {engine}",
            remedy="Only Ray shares a GPU among units; ask for 0 or 1 in the study's resources.",
        )
    return int(unit.resources.gpus)


def megabytes(resources: Resources) -> int:
    """Memory in MiB, rounded up."""
    return math.ceil(resources.memory_gb * 1024)


def plain(value: str, option: str) -> str:
    """The value of an option that goes into an engine's file as it is.

    Raises:
        RequestError: it holds something other than letters, digits and `._/:@+-`.
    """
    if not _PLAIN.fullmatch(value):
        raise RequestError(
            f"{option} {value!r}",
            found="a character that an engine's file might take for something else",
            expected="letters, digits and ._/:@+-, not a sign first",
            remedy="Correct the option, or move what it names.",
        )
    return value
