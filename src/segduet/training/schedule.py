"""The learning rate as a pure function of progress (F46)."""

from segduet.training.config import ScheduleConfig


def rate_factor(step: int, num_steps: int, schedule: ScheduleConfig) -> float:
    """Factor on every parameter group's top rate at a step.

    Rises linearly over the warm-up from 1/warm-up-steps to 1, then decays as
    (1 - t)^power with t from 0 after the warm-up to 1 after the last step; never negative, and 0
    only past the end.

    Args:
        step: 0-based step about to be taken.
        num_steps: steps of the whole training, > 0.

    Source: nnU-Net's PolyLRScheduler (Isensee et al. 2021), counted in steps instead of epochs.
    """
    warmup_steps = round(schedule.warmup_share * num_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return float(max(0.0, 1.0 - progress) ** schedule.power)
