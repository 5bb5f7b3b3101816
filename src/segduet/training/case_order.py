"""Which case a sample is of: a pure function of the seed and the sample's number (F32, F58)."""

from collections.abc import Mapping, Sequence

import numpy as np

from segduet.core.errors import DataError, RequestError
from segduet.core.tasks import TaskSpec
from segduet.windows.sampling import sample_generator

# Streams of random numbers below one seed; stream 1 is the patches' own, class k has 3 + k.
_PASS, _ROUND, _FIRST_CLASS = 0, 2, 3


def shuffled_case(cases: Sequence[str], seed: int, index: int) -> str:
    """The case of sample `index`: every pass through the cases is a new permutation of them."""
    turn, position = divmod(index, len(cases))
    return cases[int(_permutation(seed, _PASS, turn, len(cases))[position])]


def balanced_task(tasks: Sequence[TaskSpec], wanted: str | None) -> str:
    """Name of the task whose classes are to be balanced; the only one where none is named.

    Raises:
        RequestError: no such task with exclusive classes, or several and none is named.
    """
    names = [task.name for task in tasks if task.has_exclusive_classes]
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted not in names:
        raise RequestError(
            "sampling, balanced_task",
            found="no task named" if wanted is None else f"{wanted!r}",
            expected=f"one of the tasks with exclusive classes: {names}",
            remedy="Name the task whose classes are balanced, or use sampling.cases=shuffled.",
        )
    return wanted


class BalancedOrder:
    """An endless sequence of cases in which every class occurs equally often.

    The samples of known class come in rounds that hold every class once, in random order; a class
    walks through its own cases, each time in a new permutation. So over an epoch every class is
    within one of its equal share, and so is every case within its class. A pass is as many samples
    as there are cases; each case of unknown class is in every pass once: its share of all cases.

    Args:
        classes: case -> class index, negative where unknown.
        seed: of all permutations.
        where: whose classes they are, for the message.

    Raises:
        DataError: no class is known.
    """

    def __init__(self, classes: Mapping[str, int], seed: int, *, where: str) -> None:
        self._seed = seed
        self._unknown = [case for case, index in classes.items() if index < 0]
        found = sorted({index for index in classes.values() if index >= 0})
        if not found:
            raise DataError(
                where,
                found="not a single case whose class is known",
                expected="classes to balance",
                remedy="Fill the task's column in cases.csv, or use sampling.cases=shuffled.",
            )
        self._by_class = [[c for c, index in classes.items() if index == k] for k in found]

    def case(self, index: int) -> str:
        """The case of sample `index`."""
        num_known, num_unknown = sum(map(len, self._by_class)), len(self._unknown)
        turn, position = divmod(index, num_known + num_unknown)
        order = _permutation(self._seed, _PASS, turn, num_known + num_unknown)
        if order[position] < num_unknown:
            return self._unknown[int(order[position])]
        known_before = int(np.count_nonzero(order[:position] >= num_unknown))
        return self._known(turn * num_known + known_before)

    def _known(self, number: int) -> str:
        """The case of the `number`-th sample of known class."""
        num_classes = len(self._by_class)
        round_, position = divmod(number, num_classes)
        chosen = int(_permutation(self._seed, _ROUND, round_, num_classes)[position])
        cases = self._by_class[chosen]
        turn, position = divmod(round_, len(cases))
        order = _permutation(self._seed, _FIRST_CLASS + chosen, turn, len(cases))
        return cases[int(order[position])]


def _permutation(seed: int, stream: int, turn: int, count: int) -> np.ndarray:
    return sample_generator(seed, stream, turn).permutation(count)
