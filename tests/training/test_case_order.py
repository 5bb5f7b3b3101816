"""F32: the order of cases is a function of (seed, number) alone, and balanced where asked."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segduet.core.errors import DataError, RequestError
from segduet.core.tasks import TaskSpec
from segduet.training.case_order import BalancedOrder, balanced_task, shuffled_case

#: The first seed's class ratio, in small, and two cases of unknown class.
CLASSES = {
    **{f"a{i}": 0 for i in range(6)},
    **{f"b{i}": 1 for i in range(11)},
    **{f"c{i}": 2 for i in range(8)},
    **{f"u{i}": -1 for i in range(2)},
}
NUM_CASES = len(CLASSES)


def drawn(indices, *, seed=0, classes=CLASSES):
    order = BalancedOrder(classes, seed, where="test")
    return [order.case(index) for index in indices]


@pytest.mark.parametrize("epoch", range(6))
def test_over_an_epoch_every_class_occurs_equally_often(epoch):
    """F32, F61: shuffled cases follow their ratio of 6 to 11, balanced ones are within one."""
    samples = range(epoch * 60, (epoch + 1) * 60)
    balanced = Counter(CLASSES[case] for case in drawn(samples))
    known = sum(balanced[k] for k in range(3))
    assert all(abs(balanced[k] - known / 3) <= 4 / 3 for k in range(3)), balanced
    plain = Counter(CLASSES[shuffled_case(list(CLASSES), 0, i)] for i in samples)
    assert plain[1] - plain[0] >= 7


@pytest.mark.parametrize("count", [3, 30, 100, 251])
def test_from_the_start_on_classes_are_within_one(count):
    """F32."""
    known = {case: index for case, index in CLASSES.items() if index >= 0}
    found = Counter(known[case] for case in drawn(range(count), classes=known))
    assert max(found.values()) - min(found.values()) <= 1


def test_within_a_class_every_case_is_seen_equally_often():
    """F32: within one, after any number of samples."""
    for count in (40, 200, 401):
        found = Counter(drawn(range(count)))
        for label in range(3):
            seen = [found[case] for case, index in CLASSES.items() if index == label]
            assert max(seen) - min(seen) <= 1


def test_cases_of_unknown_class_keep_their_share():
    """F32, B03: each is in every pass once, as in the shuffled order."""
    for turn in range(4):
        cases = drawn(range(turn * NUM_CASES, (turn + 1) * NUM_CASES))
        assert [cases.count(case) for case in ("u0", "u1")] == [1, 1]


@given(st.integers(0, 2**40), st.integers(0, 3))
def test_a_case_depends_on_seed_and_number_alone(number, seed):
    """F58: whichever was asked for before."""
    others = drawn([5, number + 1, 0, number], seed=seed)
    assert others[-1] == drawn([number], seed=seed)[0]


def test_seeds_give_other_orders():
    assert drawn(range(20), seed=0) != drawn(range(20), seed=1)


def test_classes_do_not_come_in_a_fixed_order():
    """F32: pairs of classes in one batch change."""
    rounds = {
        tuple(
            CLASSES[c]
            for c in drawn(range(s, s + 3), classes={k: v for k, v in CLASSES.items() if v >= 0})
        )
        for s in range(0, 90, 3)
    }
    assert len(rounds) > 3


def test_no_known_class_is_refused():
    with pytest.raises(DataError, match=r"test: found not a single case whose class is known"):
        BalancedOrder({"a": -1}, 0, where="test")


def test_the_task_to_balance_must_be_clear():
    kind = TaskSpec(name="kind", classes=("a", "b"))
    grade = TaskSpec(name="grade", kind="ordinal", classes=("1", "2", "3"))
    size = TaskSpec(name="size", kind="regression")
    assert balanced_task([kind, size], None) == "kind"
    assert balanced_task([kind, grade], "grade") == "grade"
    for tasks, wanted in (([kind, grade], None), ([kind], "knd"), ([size], "size"), ([], None)):
        with pytest.raises(RequestError, match=r"balanced_task.*exclusive classes"):
            balanced_task(tasks, wanted)
