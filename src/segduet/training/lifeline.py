"""Tells the processes of a training at once when one of them has ended, and why.

A collective operation waits for everybody; without a word from outside it would wait for a dead
process until its time limit. So the first process holds a connection to every other. The system
closes it when its process ends, however that came about; a process that ends by an error says so
first, and the first process passes it on.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from torch._C._distributed_c10d import Store

from segduet.training.launch import Launch

_KEY = "segduet/lifeline"
_MEETING_SECONDS = 60.0
#: A machine that vanished without closing its connections is found after 5 + 3 * 5 seconds.
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
#: What is said of a process that ended without a word.
SILENT = "its process was killed, or its machine or network failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a process of a training ended.

    Attributes:
        rank: whose end it is.
        reason: for a person; empty where it finished as it should.
        by_user: whether the user interrupted it.
    """

    rank: int
    reason: str
    by_user: bool = False


class Lifeline:
    """One process's end of the connections.

    Attributes:
        ending: the first bad end of another process that became known; None so far.

    Args:
        rank: of this process.
        peers: rank -> connection; of the first process to all others, of the others to the first.
        on_ending: called once, from a thread, when another process has ended badly.
    """

    def __init__(
        self, rank: int, peers: Mapping[int, socket.socket], on_ending: Callable[[Ending], None]
    ) -> None:
        self.ending: Ending | None = None
        self._rank, self._peers, self._on_ending = rank, dict(peers), on_ending
        self._lock, self._known = threading.Lock(), threading.Event()
        self._has_left = False
        # A loader's process holds copies; the connection would outlive its owner for seconds.
        os.register_at_fork(after_in_child=self._close)
        for peer, connection in self._peers.items():
            thread = threading.Thread(target=self._listen, args=(peer, connection), daemon=True)
            thread.start()

    @classmethod
    def connect(cls, store: Store, launch: Launch, on_ending: Callable[[Ending], None]) -> Self:
        """Connects all processes of a launch; every one calls it.

        Args:
            store: that all of them see.
            launch: which of them this is.
            on_ending: see the class.

        Raises:
            OSError: one could not be reached within a minute.
        """
        if launch.is_first:
            return cls(launch.rank, _accept(store, launch.size), on_ending)
        port, token = store.get(_KEY).decode().split()
        connection = socket.create_connection((launch.host, int(port)), _MEETING_SECONDS)
        _send(connection, {"token": token, "rank": launch.rank})
        return cls(launch.rank, {0: _prepared(connection)}, on_ending)

    def wait(self, seconds: float) -> Ending | None:
        """The bad end of another process, if one becomes known within so many seconds."""
        self._known.wait(seconds)
        return self.ending

    def leave(self, ending: Ending | None = None) -> None:
        """Tells the others how this process ends, None for well, and closes the connections."""
        with self._lock:
            self._has_left = True
        self._tell(ending or Ending(rank=self._rank, reason=""))
        for connection in self._peers.values():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # `close` alone leaves listeners waiting
        self._close()

    def _listen(self, peer: int, connection: socket.socket) -> None:
        try:
            ending = Ending(**_received(connection))
        except (OSError, ValueError):  # closed, or cut off within the line
            ending = Ending(rank=peer, reason=SILENT)
        with self._lock:
            if not ending.reason or self._has_left or self.ending:
                return
            self.ending = ending
        self._tell(ending)
        self._known.set()
        self._on_ending(ending)

    def _tell(self, ending: Ending) -> None:
        """The first process tells the others, the others the first."""
        content = {"rank": ending.rank, "reason": ending.reason, "by_user": ending.by_user}
        for peer, connection in self._peers.items():
            if peer != ending.rank:
                with contextlib.suppress(OSError):
                    _send(connection, content)

    def _close(self) -> None:
        for connection in self._peers.values():
            connection.close()


def _accept(store: Store, size: int) -> dict[int, socket.socket]:
    token = secrets.token_hex(16)
    peers: dict[int, socket.socket] = {}
    with socket.create_server(("", 0)) as server:
        server.settimeout(_MEETING_SECONDS)
        store.set(_KEY, f"{server.getsockname()[1]} {token}")
        while len(peers) < size - 1:
            connection, _ = server.accept()
            connection.settimeout(_MEETING_SECONDS)
            try:
                hello = _received(connection)
            except (OSError, ValueError):
                hello = {}
            if hello.get("token") == token:
                peers[int(hello["rank"])] = _prepared(connection)
            else:
                connection.close()
    return peers


def _prepared(connection: socket.socket) -> socket.socket:
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # Linux; elsewhere the system's own times hold
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return connection


def _send(connection: socket.socket, content: Mapping[str, Any]) -> None:
    connection.sendall(json.dumps(content).encode() + b"\n")


def _received(connection: socket.socket) -> dict[str, Any]:
    line = b""  # byte by byte: what follows the line is not for us
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionResetError
        line += byte
    content: dict[str, Any] = json.loads(line)
    return content
