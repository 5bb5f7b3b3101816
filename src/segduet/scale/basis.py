"""What a unit is made from, in words that stay true when a study is moved as a whole."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from segduet.core.files import sha256
from segduet.scale.unit import WorkUnit

#: Hashes of larger files are remembered while their size and time stay as they are.
_SMALL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What decides what a unit makes.

    Attributes:
        settings: its command; paths below the study file's folder start there.
        inputs: SHA-256 of each input file that no unit made; folders have none.
        needs: the completion of each unit it needs; empty where that has none.
    """

    settings: list[str]
    inputs: dict[str, str]
    needs: dict[str, str]

    @classmethod
    def of(
        cls, unit: WorkUnit, *, home: Path, needs: Mapping[str, str], made: Collection[str]
    ) -> Self:
        """Reads it from disk.

        Args:
            unit: whose.
            home: folder of the study file.
            needs: completions of the units it needs.
            made: what those, and the ones they need, wrote, by place.
        """
        files = {place(path, home): path for path in unit.inputs if path.is_file()}
        return cls(
            settings=[place(word, home) for word in unit.command],
            inputs={name: _hash(path) for name, path in files.items() if name not in made},
            needs=dict(needs),
        )

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What `to_json` gave; other keys are left alone."""
        return cls(**{name: content[name] for name in ("settings", "inputs", "needs")})

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self)

    def without(self, options: Collection[str]) -> Self:
        """The same but for these options, each of which takes one value."""
        words = zip(["", *self.settings], self.settings, strict=False)
        kept = [word for before, word in words if not {before, word} & {*options}]
        return replace(self, settings=kept)

    def changes_since(self, then: Self) -> list[str]:
        """What differs from an earlier one, in words; an input that is gone is no difference."""
        rewritten = [
            f"{name} was rewritten" if name in then.inputs else f"{name} was read"
            for name, now in self.inputs.items()
            if then.inputs.get(name) != now
        ]
        rerun = [
            f"{name} was run again"
            for name, now in self.needs.items()
            if then.needs.get(name) != now
        ]
        return [*_other_words(then.settings, self.settings), *rewritten, *rerun]


def place(path: Path | str, home: Path) -> str:
    """A path below the study file's folder from there on; any other word as it is."""
    return str(Path(path).relative_to(home)) if Path(path).is_relative_to(home) else str(path)


def _other_words(then: Sequence[str], now: Sequence[str]) -> list[str]:
    if then == now:
        return []
    lost = [word for word in then if word not in now]
    new = [word for word in now if word not in then]
    if not (lost or new):
        return ["its settings came in another order"]
    return [f"`{' '.join(lost) or 'nothing'}` became `{' '.join(new) or 'nothing'}`"]


def _hash(path: Path) -> str:
    stat = path.stat()
    if stat.st_size <= _SMALL_BYTES:
        return sha256(path)
    return _hash_of_large(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)
def _hash_of_large(path: Path, _size: int, _mtime_ns: int) -> str:
    return sha256(path)
