"""OpenVINO without its converters, which take longer to import than all else of it."""

import sys
from typing import Any

_PACKAGE, _CONVERTERS = "openvino", "openvino.tools.ovc"


def import_openvino() -> Any:
    """The package `openvino`.

    Where nobody imported it before, its converters are imported when somebody first asks for them:
    they load a parser of command lines, a client of a web service and more, of which no prediction
    needs anything, and report to their makers that they were imported.
    """
    if _PACKAGE in sys.modules or _CONVERTERS in sys.modules:
        import openvino

        return openvino
    sys.modules[_CONVERTERS] = None  # type: ignore[assignment]  # Python's way to say: not there
    try:
        import openvino
    finally:
        del sys.modules[_CONVERTERS]
    # PEP 562: asked for what the package itself does not have
    openvino.__getattr__ = _converter
    return openvino


def _converter(name: str) -> Any:
    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")
    from openvino.tools.ovc import convert_model

    return convert_model
