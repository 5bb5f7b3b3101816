"""The state of balancers whose weights follow from the epoch alone."""

from collections.abc import Mapping
from typing import Any

from segduet.core.errors import DataError


def refuse_state(state: Mapping[str, Any]) -> None:
    """Checks that a balancer without state is offered none.

    Raises:
        DataError: there is some, so the checkpoint was written with another balancer.
    """
    if state:
        raise DataError(
            "checkpoint, balancer",
            found=f"state {sorted(state)}",
            expected="none: this balancer has no state",
            remedy="Resume with the balancer the run was started with.",
        )
