"""Options that would do nothing are refused."""

from collections.abc import Mapping

from segduet.core.errors import RequestError


def refuse_idle(command: str, options: Mapping[str, object], combination: str) -> None:
    """Refuses options that would have no effect.

    Args:
        command: the words after `segduet`.
        options: name -> value; None where it was not given.
        combination: what makes them idle, such as `with --local`.

    Raises:
        RequestError: one of them was given.
    """
    named = [name for name, value in options.items() if value is not None]
    if named:
        raise RequestError(
            f"segduet {command}",
            found=f"{named[0]} {combination}",
            expected="an option that has an effect",
            remedy="Leave one of the two out.",
        )
