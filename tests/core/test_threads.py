"""F76: parts of arrays are worked on side by side; errors arrive and no thread is left."""

import threading

import numpy as np
import pytest

from segduet.core.threads import for_each


def _count_up(totals):
    def work(number):
        totals[number] += number

    return work


@pytest.mark.parametrize("cores", [1, 2, 64])
@pytest.mark.parametrize("num_items", [0, 1, 2, 7, 100])
def test_every_item_is_worked_on_once(monkeypatch, cores, num_items):
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    before = set(threading.enumerate())
    totals = np.zeros(num_items, int)
    for_each(_count_up(totals), range(num_items))
    assert totals.tolist() == list(range(num_items))
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("cores", [1, 2])
def test_an_error_of_a_part_is_raised(monkeypatch, cores):
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    before = set(threading.enumerate())

    def work(number):
        if number == 3:
            raise ZeroDivisionError("three")

    with pytest.raises(ZeroDivisionError, match="three"):
        for_each(work, range(6))
    assert set(threading.enumerate()) == before


def test_two_parts_run_at_once(monkeypatch):
    """Each waits for the other; one after the other they would time out."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    meeting = threading.Barrier(2, timeout=10)
    for_each(lambda _: meeting.wait() and None, range(2))
