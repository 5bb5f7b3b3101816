"""The learning rate as a pure function of progress (F46)."""

import math
from typing import assert_never

from segduet.training.config import ScheduleConfig


def rate_factor(step: int, num_steps: int, schedule: ScheduleConfig) -> float:
    """Factor on every parameter group's top rate at a step, in [0, 1].

    Rises linearly over the warm-up from 1/warm-up-steps to 1, then follows the schedule's kind with
    t from 0 after the warm-up to 1 after the last step: (1 - t)^power, (1 + cos(pi t)) / 2, or 1.

    Args:
        step: 0-based step about to be taken.
        num_steps: steps of the whole training, > 0.
        schedule: kind, warm-up and power.

    Source: nnU-Net's PolyLRScheduler (Isensee et al. 2021), counted in steps instead of epochs;
    Loshchilov and Hutter 2017, equation 5, without restarts.
    """
    warmup_steps = round(schedule.warmup_share * num_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, num_steps - warmup_steps))
    match schedule.kind:
        case "poly":
            return float((1 - progress) ** schedule.power)
        case "cosine":
            return (1 + math.cos(math.pi * progress)) / 2
        case "constant":
            return 1.0
        case _:
            assert_never(schedule.kind)
