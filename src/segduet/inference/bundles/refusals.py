"""The one kind of error for a bundle that cannot be trusted."""

from segduet.core.errors import DataError


def refused(where: str, *, found: str, expected: str) -> DataError:
    """An error that names the fault of a bundle.

    Args:
        where: the file, and the entry in it.
        found: the fault; text from the bundle itself goes through `shown` first.
        expected: what a sound bundle has there.
    """
    return DataError(
        where,
        found=found,
        expected=expected,
        remedy="Do not use this file: get the bundle again from where it was made, or export it"
        " again.",
    )


def shown(text: str) -> str:
    """Text from a bundle for a message: quoted, ASCII only, short."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")
