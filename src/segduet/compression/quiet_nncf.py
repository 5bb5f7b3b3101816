"""NNCF without telemetry and without a word on standard output."""

import contextlib
import importlib
import io
import logging
import sys
from collections.abc import Iterator
from typing import Any

_TELEMETRY = "openvino_telemetry"


@contextlib.contextmanager
def quiet_nncf() -> Iterator[Any]:
    """Yields the module `nncf`, imported so that it has nothing to report to anyone.

    NNCF sends what it does to Google Analytics unless its telemetry package is missing when it is
    imported; so it is missing. Its progress bars would spoil `--json`.
    """
    logger_class = logging.getLoggerClass()
    with _missing(_TELEMETRY), contextlib.redirect_stdout(io.StringIO()):
        nncf = importlib.import_module("nncf")
        nncf.set_log_level(logging.ERROR)
        logging.setLoggerClass(logger_class)  # importing NNCF sets its own for everybody
        yield nncf


@contextlib.contextmanager
def _missing(module: str) -> Iterator[None]:
    """Makes an import of the module fail."""
    modules: dict[str, Any] = sys.modules
    before = modules.get(module)
    modules[module] = None
    try:
        yield
    finally:
        del modules[module]
        if before is not None:
            modules[module] = before
