"""From a balancer's configuration to the balancer."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from segduet.balancing.config import (
    BalancerConfig,
    DwaConfig,
    FadeConfig,
    FixedConfig,
    GradientConfig,
    GradNormConfig,
    GuardedConfig,
    PlateauConfig,
    TwoPhaseConfig,
    UncertaintyConfig,
    ValidationRateConfig,
)
from segduet.balancing.dwa import DwaBalancer
from segduet.balancing.fade import FadeBalancer
from segduet.balancing.fixed import FixedBalancer
from segduet.balancing.gradnorm import GradNormBalancer
from segduet.balancing.guard import GuardedBalancer
from segduet.balancing.phased import TwoPhaseBalancer
from segduet.balancing.plateau import PlateauBalancer
from segduet.balancing.protocol import SEGMENTATION, Balancer, task_term
from segduet.balancing.surgery import GradientBalancer, build_aggregator
from segduet.balancing.uncertainty import UncertaintyBalancer
from segduet.balancing.validation_rate import ValidationRateBalancer
from segduet.core.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    """What a balancer must know of the training: `build_balancer`'s arguments."""

    tasks: tuple[str, ...]
    num_epochs: int
    regression_tasks: frozenset[str]
    device: torch.device

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of all loss terms."""
        return (SEGMENTATION, *(task_term(task) for task in self.tasks))

    def weights(self, segmentation: float, task: float) -> dict[str, float]:
        """Term name -> one weight for segmentation, one for every task."""
        return {SEGMENTATION: segmentation, **{task_term(t): task for t in self.tasks}}


def build_balancer(
    config: BalancerConfig,
    *,
    tasks: Sequence[str],
    num_epochs: int,
    regression_tasks: Collection[str] = (),
    device: torch.device | None = None,
) -> Balancer:
    """The balancer for these case-level tasks.

    Args:
        config: which balancer, with its weights.
        tasks: names of the tasks; the terms are `segmentation` and `task:<name>`.
        num_epochs: length of the run, for schedules given as a share of it.
        regression_tasks: those of the tasks whose loss is a squared error.
        device: where learned weights live; None means the CPU.

    Raises:
        RequestError: a weight for a task there is not.
    """
    training = _Training(
        tasks=tuple(tasks),
        num_epochs=num_epochs,
        regression_tasks=frozenset(regression_tasks),
        device=device or torch.device("cpu"),
    )
    return BUILDERS[type(config)](config, training)


def _fixed(config: FixedConfig, training: _Training) -> Balancer:
    unknown = sorted(set(config.task_weights) - set(training.tasks))
    if unknown:
        raise RequestError(
            "balancing, task_weights",
            found=f"a weight for {unknown[0]!r}",
            expected=f"tasks among {list(training.tasks)}",
            remedy="Correct the name of the task.",
        )
    special = {task_term(task): weight for task, weight in config.task_weights.items()}
    weights = training.weights(config.segmentation_weight, config.task_weight)
    return FixedBalancer(term_weights={**weights, **special})


def _two_phase(config: TwoPhaseConfig, training: _Training) -> Balancer:
    return TwoPhaseBalancer(
        first=training.weights(config.segmentation_weight, config.first_task_weight),
        second=training.weights(config.segmentation_weight, config.second_task_weight),
        switch_epoch=config.first_epoch_of_second_phase(training.num_epochs),
        isolate_first_phase=config.isolate_first_phase,
    )


def _fade(config: FadeConfig, training: _Training) -> Balancer:
    return FadeBalancer(
        segmentation_weight=config.segmentation_weight,
        task_weights={task_term(t): config.task_weight for t in training.tasks},
        start_share=config.start_share,
        length=config.length or training.num_epochs,
        exponent=config.exponent,
    )


def _uncertainty(config: UncertaintyConfig, training: _Training) -> Balancer:
    halves = {task_term(task) for task in training.regression_tasks}
    return UncertaintyBalancer(
        {t: nn.Parameter(torch.zeros((), device=training.device)) for t in training.terms},
        {t: 0.5 if t in halves else 1.0 for t in training.terms},
        bound=config.bound,
    )


def _dwa(config: DwaConfig, training: _Training) -> Balancer:
    return DwaBalancer(training.terms, temperature=config.temperature)


def _gradnorm(config: GradNormConfig, training: _Training) -> Balancer:
    return GradNormBalancer(training.terms, alpha=config.alpha, learning_rate=config.learning_rate)


def _validation_rate(config: ValidationRateConfig, training: _Training) -> Balancer:
    return ValidationRateBalancer(training.terms, alpha=config.alpha, smoothing=config.smoothing)


def _plateau(config: PlateauConfig, training: _Training) -> Balancer:
    return PlateauBalancer(
        first=training.weights(config.segmentation_weight, config.first_task_weight),
        second=training.weights(config.segmentation_weight, config.second_task_weight),
        monitor=config.monitor,
        patience=config.patience,
        min_delta=config.min_delta,
        smoothing=config.smoothing,
        isolate_first_phase=config.isolate_first_phase,
    )


def _gradient(config: GradientConfig, training: _Training) -> Balancer:
    weights = training.weights(config.segmentation_weight, config.task_weight)
    return GradientBalancer(build_aggregator(config.method), weights)


def _guarded(config: GuardedConfig, training: _Training) -> Balancer:
    weights = training.weights(config.segmentation_weight, config.task_weight)
    return GuardedBalancer(weights, max_ratio=config.max_ratio)


#: Every member of `BalancerConfig` has its builder here.
BUILDERS: dict[type, Callable[[Any, _Training], Balancer]] = {
    FixedConfig: _fixed,
    TwoPhaseConfig: _two_phase,
    FadeConfig: _fade,
    UncertaintyConfig: _uncertainty,
    DwaConfig: _dwa,
    GradNormConfig: _gradnorm,
    ValidationRateConfig: _validation_rate,
    PlateauConfig: _plateau,
    GradientConfig: _gradient,
    GuardedConfig: _guarded,
}
