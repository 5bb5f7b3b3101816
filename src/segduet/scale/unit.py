"""One piece of a study: a command, what it reads and what it leaves behind (B22)."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from segduet.core.errors import RequestError

#: A name is a file name, a job name and a DNS label of Kubernetes (RFC 1123) at once.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one unit may use while it runs.

    Attributes:
        cpus: cores, > 0.
        gpus: devices; a fraction shares one (Ray only).
        memory_gb: working memory, > 0.
        hours: time after which an engine may end it, > 0.
    """

    cpus: float = 1
    gpus: float = 0
    memory_gb: float = 4
    hours: float = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkUnit:
    """A command that any engine can run on any machine that sees the study's folders.

    Running it twice does no harm: a unit whose marker is on disk is not run again, and one that was
    left half done begins anew, or where it stopped.

    Attributes:
        name: unique in its study; lower-case letters, digits and hyphens, at most 63.
        command: arguments after `segduet`, such as ("train", "Dataset001_x", "-f", "0").
        needs: names of the units that must be complete first.
        inputs: files or folders that must exist when it starts.
        outputs: files or folders that must exist when it has ended; no two units share one.
        resumes_from: the file by which the command goes on with `--resume`, where it exists; None
            where the command has no such option.
        free_options: of one value each, which may be another where the command goes on.
        restart_options: by which the command begins anew over what it left with other settings.
        resources: what it may use.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    inputs: tuple[Path, ...] = ()
    outputs: tuple[Path, ...]
    resumes_from: Path | None = None
    free_options: tuple[str, ...] = ()
    restart_options: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)

    def __post_init__(self) -> None:
        """Refuses a name that no engine would take."""
        if not _NAME.fullmatch(self.name):
            raise RequestError(
                f"work unit '{self.name}'",
                found="a name that is no job name",
                expected="1 to 63 lower-case letters, digits and inner hyphens",
                remedy="Rename the study, recipe or arm that this name is made of.",
            )
