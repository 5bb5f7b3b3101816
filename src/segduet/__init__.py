"""segduet: one network, two answers - segmentation and case classification on top of nnU-Net v2.

`segduet.load(MODEL).predict(volume)` answers from Python; `segduet.workflows` mirrors the commands.
"""

from typing import TYPE_CHECKING, Any

from segduet.core.version import __version__

if TYPE_CHECKING:
    from segduet.workflows.python_interface import load

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Imports `load` when it is first asked for, so that `import segduet` stays light."""
    if name != "load":
        raise AttributeError(f"module 'segduet' has no attribute {name!r}")
    from segduet.workflows.python_interface import load

    return load
