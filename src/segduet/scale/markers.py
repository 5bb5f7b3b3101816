"""What is known about a unit on disk: begun or done, and with what; or failed, and why."""

import secrets
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segduet.core.errors import DataError, RequestError
from segduet.core.files import read_json, sha256, write_json
from segduet.core.manifest import utc
from segduet.scale.basis import Basis, place
from segduet.scale.unit import WorkUnit

SCHEMA_VERSION = 2
#: Of larger outputs, markers tell the size alone.
_HASHED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a unit's command ended.

    Attributes:
        exit_code: of the process; negative where a signal ended it.
        seconds: wall time.
        reason: why the unit failed; empty where it did not.
    """

    exit_code: int
    seconds: float
    reason: str = ""


class Markers:
    """The markers of a study's units, a few files each.

    Args:
        folder: where they lie, beside the claims.
        home: folder of the study file; paths below it are told from there, so that a study can be
            moved as a whole.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, home

    def is_done(self, unit: WorkUnit) -> bool:
        """Whether the unit's marker and its outputs are there.

        Raises:
            RequestError: it was done with other settings or other data.
        """
        if not self._done(unit.name).is_file():
            return False
        marker = self._read(self._done(unit.name))
        if not all(path.exists() for path in unit.outputs):
            return False
        self._refuse_other_basis(unit, marker)
        return True

    def failure(self, unit: WorkUnit) -> Ending | None:
        """How the unit failed when it was last run with these settings; None where it did not."""
        if not self._failed(unit).is_file():
            return None
        marker = self._read(self._failed(unit))
        if self._changes(unit, marker):
            return None
        return Ending(**{name: marker[name] for name in ("exit_code", "seconds", "reason")})

    def begin(self, unit: WorkUnit) -> tuple[str, ...]:
        """Notes with what the unit is begun; only who holds its claim may.

        What it stopped at is removed where that was begun with other settings or data.

        Returns:
            Options by which its command goes on where it stopped, or begins anew over what it left.
        """
        begun, options = self._begun(unit), tuple[str, ...]()
        if unit.resumes_from and unit.resumes_from.exists():
            if begun.is_file() and self._was_begun_otherwise(unit, self._read(begun)):
                unit.resumes_from.unlink()
                options = unit.restart_options
            else:
                options = ("--resume",)
        write_json(begun, self._record(unit))
        return options

    def write_done(self, unit: WorkUnit, ending: Ending) -> None:
        """Notes that the unit's outputs are whole; an earlier failure is forgotten."""
        content = {
            **self._record(unit),
            **_how_it_ended(ending),
            "completion": secrets.token_hex(8),
            "outputs": {place(path, self.home): _size_and_hash(path) for path in unit.outputs},
        }
        write_json(self._done(unit.name), content)
        self.forget_failure(unit)

    def write_failed(self, unit: WorkUnit, ending: Ending) -> None:
        """Notes why the unit failed."""
        assert ending.reason
        content = {**self._record(unit), **_how_it_ended(ending), "reason": ending.reason}
        write_json(self._failed(unit), content)

    def forget_failure(self, unit: WorkUnit) -> None:
        """Lets a unit be run again that failed."""
        self._failed(unit).unlink(missing_ok=True)

    def _done(self, name: str) -> Path:
        return self.folder / f"{name}.done.json"

    def _failed(self, unit: WorkUnit) -> Path:
        return self.folder / f"{unit.name}.failed.json"

    def _begun(self, unit: WorkUnit) -> Path:
        return self.folder / f"{unit.name}.begun.json"

    def _record(self, unit: WorkUnit) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "unit": unit.name,
            **self._basis(unit).to_json(),
        }

    def _basis(self, unit: WorkUnit) -> Basis:
        before = list(self._all_needed(unit.needs))
        completions = {marker["unit"]: marker["completion"] for marker in before}
        return Basis.of(
            unit,
            home=self.home,
            needs={need: completions.get(need, "") for need in unit.needs},
            made={path for marker in before for path in marker["outputs"]},
        )

    def _all_needed(self, names: Collection[str]) -> Iterator[Mapping[str, Any]]:
        """Markers of the units of these names, and of all that they needed."""
        for name in names:
            if self._done(name).is_file():
                marker = self._read(self._done(name))
                yield marker
                yield from self._all_needed(marker["needs"])

    def _changes(self, unit: WorkUnit, marker: Mapping[str, Any]) -> list[str]:
        return self._basis(unit).changes_since(Basis.from_json(marker))

    def _was_begun_otherwise(self, unit: WorkUnit, marker: Mapping[str, Any]) -> bool:
        then, now = (
            each.without(unit.free_options) for each in (Basis.from_json(marker), self._basis(unit))
        )
        return bool(now.changes_since(then))

    def _refuse_other_basis(self, unit: WorkUnit, marker: Mapping[str, Any]) -> None:
        changed = self._changes(unit, marker)
        if changed:
            raise RequestError(
                f"unit {unit.name!r}",
                found=f"that it was done before {' and '.join(changed)}",
                expected="a study whose settings and data stay as they were when units were done",
                remedy="Give the study another name, or run this unit again by deleting what it "
                f"wrote, {unit.outputs[0].parent}.",
            )

    def _read(self, file: Path) -> Mapping[str, Any]:
        content = read_json(file)
        if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
            raise DataError(
                str(file),
                found="a file of another kind",
                expected=f"a marker of schema version {SCHEMA_VERSION}, as `segduet run` writes it",
                remedy="Delete it; the unit is then run again.",
            )
        return content


def refuse_outdated(units: Sequence[WorkUnit], done: Collection[str]) -> None:
    """Refuses units that are done while one they need is to be run (again).

    Args:
        units: those that are about to be run, done or not.
        done: names of those that are done.

    Raises:
        RequestError: there are such; the message says what to delete.
    """
    names = {unit.name for unit in units}
    outdated = [unit for unit in units if unit.name in done and (names & {*unit.needs}) - {*done}]
    if outdated:
        folders = dict.fromkeys(str(unit.outputs[0].parent) for unit in outdated)
        raise RequestError(
            f"unit {outdated[0].name!r}",
            found="that it is done, while a unit it needs is to be run again",
            expected="answers and scores of the models that are there",
            remedy=f"Delete what such units wrote, so that they run again: {', '.join(folders)}.",
        )


def _how_it_ended(ending: Ending) -> dict[str, Any]:
    return {
        "exit_code": ending.exit_code,
        "seconds": round(ending.seconds, 3),
        "ended": utc(time.time()),
    }


def _size_and_hash(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    return {"bytes": size, "sha256": sha256(path) if size <= _HASHED_BYTES else None}
