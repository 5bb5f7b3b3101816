"""run.json: how a model came to be, as `train` wrote it."""

from pathlib import Path
from typing import Any

from segduet.core.errors import DataError
from segduet.core.files import read_json

RUN_RECORD = "run.json"
SCHEMA_VERSION = 1

_READ = {"dataset", "plans", "configuration", "fold", "recipe", "seed", "epochs_done", "seconds"}


def read_run_record(folder: Path) -> dict[str, Any]:
    """The record of a run folder.

    Raises:
        DataError: missing, not JSON, of another schema, or without an entry that is read from it.
    """
    source = folder / RUN_RECORD
    content = read_json(source)
    version = content.get("schema_version") if isinstance(content, dict) else None
    missing = sorted(_READ - set(content)) if version == SCHEMA_VERSION else []
    if version != SCHEMA_VERSION or missing:
        raise DataError(
            str(source),
            found=f"schema version {version!r}" + (f" without {missing}" if missing else ""),
            expected=f"a record of schema version {SCHEMA_VERSION}, as `segduet train` writes it",
            remedy="Restore it, or finish the training again with --resume.",
        )
    return dict(content)
