"""Messages for image files that cannot be used."""

from pathlib import Path

from segduet.core.errors import DataError


def unreadable(path: Path, error: Exception) -> DataError:
    """The error to raise where a decoder gave up on a file."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[-1][:200] if lines else type(error).__name__
    return DataError(
        str(path),
        found=f"a file that cannot be read: damaged, cut short or of another kind ({reason})",
        expected="a complete image of the kind its name says",
        remedy="Copy it again from the source, or leave the case out.",
    )


def require_file(path: Path) -> None:
    """Checks that the file exists and has content.

    Raises:
        DataError: no such file, or it has no bytes.
    """
    found = "" if path.is_file() else "no such file"
    if not found and path.stat().st_size == 0:
        found = "an empty file"
    if found:
        raise DataError(
            str(path),
            found=found,
            expected="an image",
            remedy="Check the path, or copy the file again from the source.",
        )
