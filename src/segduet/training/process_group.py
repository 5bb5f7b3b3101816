"""From a launch to processes that train together, and the end of all when one of them ends."""

import contextlib
import datetime
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import torch
from torch import distributed
from torch.distributed.rendezvous import rendezvous

from segduet.core.errors import SegduetError, TrainingError
from segduet.training.launch import Launch
from segduet.training.lifeline import Ending, Lifeline
from segduet.training.processes import ONE_PROCESS, Processes

#: Until the last process has started and met the others.
_START = datetime.timedelta(minutes=2)
#: Until a process that lives but does not answer is given up.
_ANSWER = datetime.timedelta(minutes=30)
#: What a process may take to end in order once another one has ended.
_GRACE_SECONDS = 10.0
#: How long the reason may take to arrive after the sign that something has happened.
_REASON_SECONDS = 5.0


@contextlib.contextmanager
def joined_processes(launch: Launch, device: torch.device) -> Iterator[Processes]:
    """The processes of a launch, joined by NCCL on GPUs and by gloo on CPUs.

    Where one of them ends badly, all others leave the context with its reason within seconds: by
    an error, or, where they are stuck, by the end of the process with exit code 1. SIGTERM, by
    which a launcher ends the others, leaves in the same way.

    Args:
        launch: which processes; a single one is yielded as it is, and nothing is set up.
        device: of this process.

    Raises:
        TrainingError: the others were not met in time, or one of them ended.
    """
    if launch.size == 1:
        yield ONE_PROCESS
        return
    common = _CommonEnd(launch)
    before = signal.signal(signal.SIGTERM, common.on_signal)
    try:
        _meet(launch, device, common)
        yield Processes(rank=launch.rank, size=launch.size)
        distributed.barrier()
    except BaseException as error:
        outcome = common.of_all(error)
        # a launcher's SIGTERM must not cut the message off; it kills what does not end in time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if outcome is error:
            raise
        raise outcome from error
    common.leave()
    signal.signal(signal.SIGTERM, before)
    distributed.destroy_process_group()


class _CommonEnd:
    """Turns the bad end of one process into that of all.

    Attributes:
        line: to the other processes; None until they have met.
    """

    line: Lifeline | None = None

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._is_over = threading.Event()

    def on_other(self, ending: Ending) -> None:
        """In a thread: interrupts the main thread, or ends the process where that is stuck."""
        os.kill(os.getpid(), signal.SIGTERM)
        if not self._is_over.wait(_GRACE_SECONDS):
            sys.stderr.write(f"error: {self._error(ending)}\n")
            sys.stderr.flush()
            os._exit(TrainingError.exit_code)

    def on_signal(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """In the main thread, where it next runs Python."""
        if not self._is_over.is_set():
            raise self._outcome(self._ending_of_another(_REASON_SECONDS))

    def leave(self, ending: Ending | None = None) -> None:
        """Tells the others how this process ends, None for well."""
        self._is_over.set()
        if self.line:
            self.line.leave(ending)

    def of_all(self, error: BaseException) -> BaseException:
        """What this process ends with; the others are told, unless they told it."""
        self._is_over.set()  # from here on no signal shall cut in
        patience = 0.0 if isinstance(error, SegduetError | KeyboardInterrupt) else _REASON_SECONDS
        ending = self._ending_of_another(patience)
        if ending:
            self.leave(ending)
            return self._outcome(ending)
        by_user = isinstance(error, KeyboardInterrupt)
        self.leave(Ending(rank=self._launch.rank, reason=_reason(error), by_user=by_user))
        return error

    def _ending_of_another(self, seconds: float) -> Ending | None:
        return self.line.wait(seconds) if self.line else None

    def _outcome(self, ending: Ending | None) -> BaseException:
        return KeyboardInterrupt() if ending and ending.by_user else self._error(ending)

    def _error(self, ending: Ending | None) -> TrainingError:
        asked = "that it was asked to end, by SIGTERM"
        return TrainingError(
            f"training over {self._launch.size} processes, rank {self._launch.rank}",
            found=f"rank {ending.rank} ended: {ending.reason}" if ending else asked,
            expected="all of them to go on to the end",
            remedy="Mend the cause, if there is one, and go on from the last checkpoint with "
            "--resume.",
        )


def _reason(error: BaseException) -> str:
    match error:
        case KeyboardInterrupt():
            return "interrupted"
        case SegduetError():
            return f"{error.where}: found {error.found}"
        case _:
            return f"{type(error).__name__}: {error}"


def _meet(launch: Launch, device: torch.device, common: _CommonEnd) -> None:
    _share_cores(launch)
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=_START)))
        common.line = Lifeline.connect(store, launch, common.on_other)
        distributed.init_process_group(
            backend, store=store, rank=rank, world_size=size, timeout=_ANSWER
        )
    except (RuntimeError, OSError) as error:
        raise TrainingError(
            f"training over {launch.size} processes, rank {launch.rank}",
            found=f"that they did not meet: {error}",
            expected=f"{launch.size} processes that reach each other at {launch.host}",
            remedy="Check that all were started, and that no firewall lies between them.",
        ) from error


def _share_cores(launch: Launch) -> None:
    """Lets the processes of a machine have no more threads together than it has cores."""
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(max(1, min(torch.get_num_threads(), cores // launch.local_size)))
