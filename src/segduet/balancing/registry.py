"""From a balancer's configuration to the balancer."""

from collections.abc import Sequence
from typing import assert_never

from segduet.balancing.config import BalancerConfig, FixedConfig, TwoPhaseConfig
from segduet.balancing.fixed import FixedBalancer
from segduet.balancing.phased import TwoPhaseBalancer
from segduet.balancing.protocol import SEGMENTATION, Balancer, task_term
from segduet.core.errors import RequestError


def build_balancer(config: BalancerConfig, *, tasks: Sequence[str], num_epochs: int) -> Balancer:
    """The balancer for these case-level tasks.

    Args:
        config: which balancer, with its weights.
        tasks: names of the tasks; the terms are `segmentation` and `task:<name>`.
        num_epochs: length of the run, for a switch given as a fraction.

    Raises:
        RequestError: a weight for a task there is not.
    """
    match config:
        case FixedConfig():
            return _fixed(config, tasks)
        case TwoPhaseConfig():
            return _two_phase(config, tasks, num_epochs)
        case _:
            assert_never(config)


def _fixed(config: FixedConfig, tasks: Sequence[str]) -> FixedBalancer:
    unknown = sorted(set(config.task_weights) - set(tasks))
    if unknown:
        raise RequestError(
            "balancing, task_weights",
            found=f"a weight for {unknown[0]!r}",
            expected=f"tasks among {list(tasks)}",
            remedy="Correct the name of the task.",
        )
    weights = {t: config.task_weights.get(t, config.task_weight) for t in tasks}
    return FixedBalancer(term_weights=_terms(config.segmentation_weight, weights))


def _two_phase(config: TwoPhaseConfig, tasks: Sequence[str], num_epochs: int) -> TwoPhaseBalancer:
    first = dict.fromkeys(tasks, config.first_task_weight)
    second = dict.fromkeys(tasks, config.second_task_weight)
    return TwoPhaseBalancer(
        first=_terms(config.segmentation_weight, first),
        second=_terms(config.segmentation_weight, second),
        switch_epoch=config.first_epoch_of_second_phase(num_epochs),
        isolate_first_phase=config.isolate_first_phase,
    )


def _terms(segmentation: float, tasks: dict[str, float]) -> dict[str, float]:
    return {SEGMENTATION: segmentation, **{task_term(t): w for t, w in tasks.items()}}
