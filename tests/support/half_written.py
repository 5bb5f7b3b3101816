"""What a process that was killed while it wrote leaves behind."""

import contextlib
from pathlib import Path

from segduet.core.files import atomic_path


def half_written(target: Path) -> Path:
    """Leaves the temporary file of `target`, and returns it."""
    with contextlib.suppress(KeyError), atomic_path(target) as temporary:
        raise KeyError
    temporary.touch()
    return temporary
