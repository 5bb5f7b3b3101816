import pickle

import pytest

from segduet.core.errors import (
    DataError,
    RequestError,
    SegduetError,
    StorageError,
    TrainingError,
)

KINDS = (DataError, RequestError, StorageError, TrainingError)


def error(kind: type[SegduetError]) -> SegduetError:
    return kind("case_017", found="label 7", expected="labels 0-3", remedy="Remap it.")


def test_the_message_tells_where_found_expected_and_remedy_in_that_order() -> None:
    assert str(error(DataError)) == "case_017: found label 7; expected labels 0-3. Remap it."


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_crosses_a_process_border_unchanged(kind: type[SegduetError]) -> None:
    """Worker processes raise them; the parent must see the same kind and the same four parts."""
    here = error(kind)
    there = pickle.loads(pickle.dumps(here))
    assert type(there) is kind
    assert (str(there), vars(there)) == (str(here), vars(here))
    assert vars(there) == {
        "where": "case_017", "found": "label 7", "expected": "labels 0-3", "remedy": "Remap it.",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "code"), list(zip((SegduetError, *KINDS), (1, 2, 2, 2, 1), strict=True))
)
def test_exit_codes_are_2_for_what_the_user_can_mend(kind: type[SegduetError], code: int) -> None:
    assert error(kind).exit_code == code
