"""B22: what a work unit may be called."""

from pathlib import Path

import pytest

from segduet.core.errors import RequestError
from segduet.scale.unit import WorkUnit


def _named(name: str) -> WorkUnit:
    return WorkUnit(name=name, command=("info",), outputs=(Path("out"),))


@pytest.mark.parametrize("name", ["a", "train-default-fold-0-seed-2", "x" * 63])
def test_a_job_name_is_accepted(name: str) -> None:
    assert _named(name).name == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a/b", "a\n", "x" * 64])
def test_what_no_engine_would_take_is_refused_by_name(name: str) -> None:
    with pytest.raises(RequestError, match="work unit"):
        _named(name)
