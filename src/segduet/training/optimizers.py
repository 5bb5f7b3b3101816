"""Optimiser over every parameter once, heads apart, and its learning rate (F46, F47)."""

import torch
from torch import nn

from segduet.training.config import OptimizerConfig


def build_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """SGD or AdamW with one group for encoder and decoder and one for the heads.

    Each group remembers its top rate under `top_lr`; `set_rate` scales from it.
    """
    heads: list[nn.Parameter] = []
    trunk: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        (heads if name.startswith("heads.") else trunk).append(parameter)
    head_rate = config.head_learning_rate or config.learning_rate
    groups = [{"params": trunk, "top_lr": config.learning_rate}]
    if heads:
        groups.append({"params": heads, "top_lr": head_rate})
    groups = [{**g, "lr": g["top_lr"]} for g in groups]
    if config.name == "adamw":
        return torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        groups,
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.momentum > 0,
        weight_decay=config.weight_decay,
    )


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Sets every group's rate to its top rate times `factor`; returns the first group's."""
    for group in optimizer.param_groups:
        group["lr"] = group["top_lr"] * factor
    return float(optimizer.param_groups[0]["lr"])
