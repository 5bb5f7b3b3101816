"""Which of how many processes this one is, as `torchrun` tells every process it starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from segduet.core.errors import RequestError

#: What torchrun sets for every process; nothing else is read from the environment.
_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """This process among those that were started together; by default it is alone.

    Attributes:
        rank: its number among all, from 0.
        size: how many there are on all machines.
        local_rank: its number on this machine, from 0; which GPU it takes.
        local_size: how many there are on this machine.
        host: where the first of them can be reached.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    host: str = ""

    @property
    def is_first(self) -> bool:
        """Whether this is the process that speaks and writes for all."""
        return self.rank == 0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """The launch that an environment tells of; alone where it tells nothing.

        Raises:
            RequestError: it tells only a part, or numbers that cannot be.
        """
        if "WORLD_SIZE" not in environment:
            return cls()
        missing = [name for name in _NAMES if not environment.get(name)]
        if missing:
            raise _not_a_launch(f"no {', '.join(missing)}")
        rank, size, local_rank, local_size = (_number(name, environment) for name in _NAMES[:4])
        if not (rank < size and local_rank < local_size <= size):
            raise _not_a_launch(f"process {rank} of {size}, {local_rank} of {local_size} here")
        return cls(
            rank=rank,
            size=size,
            local_rank=local_rank,
            local_size=local_size,
            host=environment["MASTER_ADDR"],
        )


def require_even_shares(batch_size: int, launch: Launch) -> None:
    """Refuses a batch that cannot be shared out evenly over the processes.

    Raises:
        RequestError: it cannot.
    """
    if batch_size % launch.size:
        raise RequestError(
            f"training over {launch.size} processes",
            found=f"a batch of {batch_size}",
            expected=f"a multiple of {launch.size}, so that every process has equally many patches",
            remedy="Start another number of processes, or set batch_size.",
        )


def _number(name: str, environment: Mapping[str, str]) -> int:
    text = environment[name]
    if not text.isdecimal():
        raise _not_a_launch(f"{name}={text}")
    return int(text)


def _not_a_launch(found: str) -> RequestError:
    return RequestError(
        "environment of a training over several processes",
        found=found,
        expected=f"{', '.join(_NAMES)}, as torchrun sets them",
        remedy="Start it with `torchrun --nproc-per-node=N -m segduet train ...`, or unset "
        "WORLD_SIZE to train with one process.",
    )
