"""Issue 6: shares of a cohort."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segduet.core.errors import RequestError
from segduet.inference.shards import Shard


@given(st.integers(0, 40), st.integers(1, 12))
def test_every_case_is_in_exactly_one_shard(num_cases: int, count: int) -> None:
    shards = [list(Shard(i, count).of(range(num_cases))) for i in range(1, count + 1)]
    assert sorted(case for shard in shards for case in shard) == list(range(num_cases))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_shards_are_read_as_they_are_written() -> None:
    assert Shard.parse("2/8") == Shard(2, 8)
    assert Shard(2, 8).suffix == "-2-of-8"
    assert Shard.parse("1/1").is_all
    assert Shard(1, 1).suffix == ""


@pytest.mark.parametrize("text", ["", "0/3", "4/3", "1", "1/0", "-1/2", "a/b", "1/2/3", "1/2\n"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="I/N"):
        Shard.parse(text)
