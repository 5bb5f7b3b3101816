"""Names for lengths of training (F62)."""

from collections.abc import Mapping
from typing import Any

from segduet.core.errors import RequestError

#: name -> epochs; nnU-Net trains for 1000 epochs of 250 steps.
LENGTHS: Mapping[str, int] = {
    "trial": 20,
    "short": 100,
    "reduced": 150,
    "standard": 200,
    "extended": 500,
    "nnunet": 1000,
}


def epochs_of(length: Any, *, where: str) -> int:
    """Epochs of a named length.

    Raises:
        RequestError: no such length.
    """
    if not isinstance(length, str) or length not in LENGTHS:
        raise RequestError(
            f"{where}, length",
            found=repr(length),
            expected=f"one of {dict(LENGTHS)}",
            remedy="Correct the name, or give the number as `epochs`.",
        )
    return LENGTHS[length]


def refuse_both(keys: set[str], *, where: str) -> None:
    """Refuses a length beside a number of epochs in the same place.

    Raises:
        RequestError: `length` and `epochs` are both among the keys.
    """
    if {"length", "epochs"} <= keys:
        raise RequestError(
            where,
            found="both `length` and `epochs`",
            expected="one of them",
            remedy="Remove one; `length` is a name for a number of epochs.",
        )
