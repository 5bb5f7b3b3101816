"""Which of many steps are kept: one after the other, the one that helps most first."""

from collections.abc import Callable, Sequence

from segduet.cleanup.evidence import Trial
from segduet.cleanup.steps import Step

#: What `Trial.helps` asks, in words.
RULE = (
    "kept if the 95 % interval (over patients, paired) of the mean DSC difference of its regions "
    "lies above 0 and the mean DSC of no region falls; of several, that of the largest difference"
)


def select_steps(
    candidates: Sequence[Step],
    try_steps: Callable[[Sequence[Step], Sequence[Step]], Sequence[Trial]],
) -> list[Trial]:
    """Adds the step that helps most, again and again, until none helps.

    Args:
        candidates: each is kept once at most; of equals the first wins.
        try_steps: (steps kept so far, steps left) -> the trial of each of those left, on top of
            those kept.

    Returns:
        All trials in order; those of the kept steps say so, in the order they are to be taken.
    """
    trials: list[Trial] = []
    kept: list[Step] = []
    left = list(candidates)
    while left:
        tried = list(try_steps(kept, left))
        best = max((t for t in tried if t.helps), key=_difference, default=None)
        if best is None:
            return [*trials, *tried]
        trials += [t.model_copy(update={"kept": t is best}) for t in tried]
        kept.append(best.step)
        left.remove(best.step)
    return trials


def _difference(trial: Trial) -> float:
    assert trial.difference.value is not None
    return trial.difference.value
