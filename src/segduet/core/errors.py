"""Errors a user can cause or meet, each told in four parts: where, found, expected, remedy."""


class SegduetError(Exception):
    """An error told in four parts; the command line prints it as one message and exits.

    Args:
        where: the file, case, option or stage concerned.
        found: what was met there.
        expected: what should have been there.
        remedy: what the user can do about it, as a full sentence.
    """

    exit_code = 1

    def __init__(self, where: str, *, found: str, expected: str, remedy: str) -> None:
        self.where, self.found, self.expected, self.remedy = where, found, expected, remedy
        super().__init__(f"{where}: found {found}; expected {expected}. {remedy}")

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuilds the error in another process (keyword arguments defeat the default)."""
        return _rebuild, (type(self), self.where, self.found, self.expected, self.remedy)


def _rebuild(
    kind: type[SegduetError], where: str, found: str, expected: str, remedy: str
) -> SegduetError:
    return kind(where, found=found, expected=expected, remedy=remedy)


class RequestError(SegduetError):
    """The command, an option or a configuration asks for something that cannot be done."""

    exit_code = 2


class DataError(SegduetError):
    """An image, mask, table, plan or checkpoint is not what it should be."""

    exit_code = 2


class StorageError(SegduetError):
    """A file could not be written or read back: disk full, no permission, vanished folder."""

    exit_code = 2


class TrainingError(SegduetError):
    """Training cannot go on: a loss or gradient is not finite, or a worker process died."""
