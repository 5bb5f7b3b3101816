"""One case to predict."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseInput:
    """One case to predict.

    Attributes:
        case: case id, the name of its answers.
        image_paths: one file per channel, in channel order.
    """

    case: str
    image_paths: tuple[Path, ...]

    @property
    def stamps(self) -> tuple[tuple[int, int], ...]:
        """Size and time of the last change of every image, by which another one is told.

        (-1, -1) for one that is not there.
        """
        return tuple(_stamp(path) for path in self.image_paths)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (-1, -1)
    return (found.st_size, found.st_mtime_ns)
