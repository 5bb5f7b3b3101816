"""The check of a saved state before a balancer takes it up."""

from collections.abc import Mapping
from typing import Any

from segduet.core.errors import DataError


def require_state(state: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Checks that a saved state is of the same method and the same terms.

    Args:
        state: what a checkpoint holds.
        expected: the state of the balancer that is to take it up.

    Raises:
        DataError: another method, or other keys at any depth.
    """
    if state.get("kind") != expected["kind"]:
        raise _foreign(f"the state of {state.get('kind')!r}", f"that of {expected['kind']!r}")
    mine, theirs = _keys(expected), _keys(state)
    if mine != theirs:
        raise _foreign(f"entries {sorted(theirs - mine)}", f"entries {sorted(mine - theirs)}")


def _keys(state: Mapping[str, Any], prefix: str = "") -> set[str]:
    keys = set()
    for key, value in state.items():
        keys.add(prefix + key)
        if isinstance(value, Mapping):
            keys |= _keys(value, f"{prefix}{key}/")
    return keys


def _foreign(found: str, expected: str) -> DataError:
    return DataError(
        "checkpoint, balancer",
        found=found,
        expected=expected,
        remedy="Resume with the balancing and tasks the run was started with.",
    )
