"""The right to run a unit, held by one process at a time, on any machine that sees the folder.

Claims of a unit are numbered files. The highest number counts; a process takes the next number by
creating its file, which only one can, and only where the holder of the highest has given it back or
is dead. A number is never used twice, so two takers of a dead claim cannot both win, however long
either of them sleeps in between.
"""

import contextlib
import json
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segduet.core.files import write_json
from segduet.scale.owner import Owner

HEARTBEAT_S = 5.0
#: A process of another machine is taken for dead when its claim was not touched for so long: many
#: heartbeats, as a network folder may be slow to show them.
SILENT_S = 90.0

_NUMBER = re.compile(r"claim-(\d+)")


@dataclass(slots=True, kw_only=True)
class Claim:
    """A unit that this process may run until it releases it or another takes it over.

    Attributes:
        file: the claim's.
        number: its place among the unit's claims.
        owner: this process.
        children: processes that work for it; a unit is free only when they have ended too.
    """

    file: Path
    number: int
    owner: Owner
    children: list[Owner] = field(default_factory=list)

    def add_child(self, pid: int) -> None:
        """Names a process that works for this claim."""
        child = Owner.of_process(pid)
        if child is not None:
            self.children.append(child)
            self._write(is_released=False)

    def keep_alive(self) -> None:
        """Shows other machines that this process is alive."""
        with contextlib.suppress(FileNotFoundError):  # taken over: `is_held` tells
            os.utime(self.file)

    @property
    def is_held(self) -> bool:
        """Whether no other process took the unit over, as after a long sleep of this machine."""
        return _numbers(self.file.parent, _unit(self.file))[-1:] == [self.number]

    def release(self) -> None:
        """Lets others claim the unit; the last claim stays, so that no number comes again."""
        if not self.is_held:
            return
        self._write(is_released=True)
        folder, unit = self.file.parent, _unit(self.file)
        for number in _numbers(folder, unit)[:-1]:
            claim_file(folder, unit, number).unlink(missing_ok=True)

    def _write(self, *, is_released: bool) -> None:
        write_json(self.file, _content(self.owner, self.children, is_released=is_released))


def try_claim(folder: Path, unit: str) -> Claim | None:
    """Claims a unit; None where a live process holds it, or another one was faster.

    Args:
        folder: of the study's markers and claims.
        unit: its name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = _numbers(folder, unit)
    if numbers and not _is_free(claim_file(folder, unit, numbers[-1])):
        return None
    number = numbers[-1] + 1 if numbers else 1
    claim = Claim(file=claim_file(folder, unit, number), number=number, owner=Owner.this_process())
    content = json.dumps(_content(claim.owner, [], is_released=False)).encode()
    if not _create(claim.file, content):
        return None
    if not claim.is_held:  # others went through several numbers since these were read
        claim.file.unlink(missing_ok=True)
        return None
    return claim


def holder(folder: Path, unit: str) -> str | None:
    """Who runs a unit, in words; None where nobody does."""
    numbers = _numbers(folder, unit)
    if not numbers or _is_free(claim_file(folder, unit, numbers[-1])):
        return None
    content = _read(claim_file(folder, unit, numbers[-1]))
    return f"process {content['pid']} of {content['host']}" if content else "another process"


def claim_file(folder: Path, unit: str, number: int) -> Path:
    """Path of a claim."""
    return folder / f"{unit}.claim-{number}.json"


def _content(owner: Owner, children: list[Owner], *, is_released: bool) -> dict[str, Any]:
    return {
        **owner.to_json(),
        "children": [child.to_json() for child in children],
        "is_released": is_released,
    }


def _create(file: Path, content: bytes) -> bool:
    """Creates the file if there is none; whether it did."""
    try:
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        os.write(handle, content)
    finally:
        os.close(handle)
    return True


def _numbers(folder: Path, unit: str) -> list[int]:
    found = (
        _NUMBER.fullmatch(p.name[len(unit) + 1 : -5]) for p in folder.glob(f"{unit}.claim-*.json")
    )
    return sorted(int(match[1]) for match in found if match)


def _unit(file: Path) -> str:
    return file.name.partition(".")[0]


def _is_free(file: Path) -> bool:
    content = _read(file)
    if content is None:  # being written, or by a process that died before it wrote
        return _is_silent(file)
    if content["is_released"]:
        return True
    owners = [_owner(content), *(_owner(child) for child in content["children"])]
    if all(owner.is_local for owner in owners):
        return not any(owner.is_running for owner in owners)
    return _is_silent(file)


def _owner(content: dict[str, Any]) -> Owner:
    return Owner(**{name: content[name] for name in ("host", "machine", "pid", "start_ticks")})


def _read(file: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return content


def _is_silent(file: Path) -> bool:
    """By the clock of the folder's own machine, since those of two machines may differ."""
    probe = file.with_name(f".probe-{secrets.token_hex(8)}")
    try:
        probe.touch(exist_ok=False)
        return probe.stat().st_mtime - file.stat().st_mtime > SILENT_S
    except FileNotFoundError:
        return False
    finally:
        probe.unlink(missing_ok=True)
