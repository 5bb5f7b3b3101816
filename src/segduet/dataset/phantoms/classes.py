"""The check that a phantom's class exists."""

from segduet.core.errors import RequestError


def check_class(value: int, count: int, *, name: str) -> None:
    """Checks a class index.

    Raises:
        RequestError: it is not one of 0 ... count - 1.
    """
    if value not in range(count):
        raise RequestError(
            f"phantom {name}",
            found=repr(value),
            expected=f"one of {list(range(count))}",
            remedy="Ask for one of these classes.",
        )
