"""nnU-Net's property pickles, read without running anything they might ask for (F52)."""

import importlib
import pickle
from pathlib import Path
from typing import Any

from segduet.core.errors import DataError
from segduet.core.files import write_bytes

#: What numpy needs to rebuild its arrays and numbers, under old and new module names.
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("collections", "OrderedDict"),
    *(
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (
            ("multiarray", "_reconstruct"),
            ("multiarray", "scalar"),
            ("numeric", "_frombuffer"),
        )
    ),
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        """What a pickle refers to by name, from the allow-list only."""
        if (module_name, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        current = module_name.replace("numpy.core.", "numpy._core.")
        return getattr(importlib.import_module(current), global_name)


def read_plain_pickle(path: Path) -> dict[str, Any]:
    """Reads a dictionary of plain types and numpy arrays.

    Raises:
        DataError: missing, damaged, not a dictionary, or it refers to anything but numpy arrays and
            plain types (such a file could run code; it is not opened further).
    """
    try:
        with path.open("rb") as stream:
            content = _PlainUnpickler(stream).load()
    except Exception as error:
        # A damaged pickle can raise nearly anything; every case means that it cannot be used.
        raise _unusable(path, f"a pickle that cannot be used ({error})") from error
    if not isinstance(content, dict):
        raise _unusable(path, f"a pickled {type(content).__name__}")
    return content


def _unusable(path: Path, found: str) -> DataError:
    return DataError(
        str(path),
        found=found,
        expected="nnU-Net's case properties: plain types and numpy arrays",
        remedy="Preprocess the dataset again, and do not use files from sources you do not trust.",
    )


def write_plain_pickle(path: Path, content: dict[str, Any]) -> None:
    """Writes a dictionary of plain types and numpy arrays atomically, for stock nnU-Net."""
    write_bytes(path, pickle.dumps(content))
