"""Runs a function in two processes that are joined as those of a training are, by gloo."""

import os
import pickle
import socket
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from fork_server import fork_server
from segduet.training.launch import Launch
from segduet.training.process_group import joined_processes

_SECONDS = 120


def together(work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `work(processes, *arguments)` returned in both processes, by rank."""
    answers = [answer for answer, _ in start(_joined, work, *arguments)]
    for answer in answers:
        assert not isinstance(answer, str | int), answer
    return answers


def start(work: Callable[..., Any], *arguments: Any) -> list[tuple[Any, float]]:
    """Runs `work(launch, *arguments)` in both; (answer, seconds) by rank; answers may be errors.

    A process that dies without an answer gives its exit code.
    """
    context = fork_server()
    given = pickle.dumps((work, arguments))  # a copy for each: multiprocessing would share tensors
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started, processes, ends = time.monotonic(), [], []
    for rank in range(2):
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_run, args=(theirs, rank, port, given))
        process.start()
        theirs.close()
        processes.append(process)
        ends.append(mine)
    try:
        return [
            (_answer(end, process), time.monotonic() - started)
            for end, process in zip(ends, processes, strict=True)
        ]
    finally:
        for process in processes:
            process.join(_SECONDS)
            process.kill()


def _answer(end: Connection, process: Any) -> Any:
    try:
        if end.poll(_SECONDS):
            return end.recv()
    except EOFError:
        pass
    process.join(_SECONDS)
    return process.exitcode


def _run(end: Connection, rank: int, port: int, given: bytes) -> None:
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE="2",
        LOCAL_RANK=str(rank),
        LOCAL_WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    work, arguments = pickle.loads(given)
    try:
        end.send(work(Launch.of(os.environ), *arguments))
    except (Exception, KeyboardInterrupt) as error:
        end.send("".join(traceback.format_exception(error)))


def _joined(launch: Launch, work: Callable[..., Any], *arguments: Any) -> Any:
    with joined_processes(launch, torch.device("cpu")) as processes:
        return work(processes, *arguments)
