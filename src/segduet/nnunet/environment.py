"""Calling nnunetv2: its folders through its environment variables, its chatter into the log."""

import contextlib
import io
import logging
import os
from collections.abc import Iterator

from segduet.core.folders import DataRoot

log = logging.getLogger(__name__)


@contextlib.contextmanager
def nnunet_environment(root: DataRoot) -> Iterator[None]:
    """Lets nnunetv2 see these folders for the time of a call; nothing else is changed.

    nnunetv2 (from 2.8) reads its variables when it uses them, and its worker processes inherit
    them. What it prints to standard output is logged as INFO.
    """
    wanted = {
        "nnUNet_raw": str(root.raw),
        "nnUNet_preprocessed": str(root.preprocessed),
        "nnUNet_results": str(root.results),
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        with contextlib.redirect_stdout(_LoggedLines()):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _LoggedLines(io.TextIOBase):
    def write(self, text: str) -> int:
        """Logs every line of the text that is not empty."""
        for line in text.splitlines():
            if line.strip():
                log.info("nnunetv2: %s", line.rstrip())
        return len(text)
