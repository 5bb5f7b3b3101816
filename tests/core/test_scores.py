import math

import pytest

from segduet.core.scores import Score


def test_a_score_is_a_number_or_a_reason() -> None:
    """F56."""
    assert Score(value=0.0).value == 0.0
    assert Score(value=None, reason="both masks are empty").value is None


@pytest.mark.parametrize(
    ("value", "reason"), [(None, ""), (0.5, "why?"), (math.nan, ""), (math.inf, "")]
)
def test_a_score_without_number_and_reason_or_with_nan_cannot_be_built(
    value: float | None, reason: str
) -> None:
    with pytest.raises(AssertionError):
        Score(value=value, reason=reason)
