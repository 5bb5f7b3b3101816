"""Optimiser over every parameter once, with a learning rate for each part (F46, F47)."""

from collections.abc import Collection, Iterable
from typing import Any, Literal

import torch
from torch import nn

from segduet.core.errors import RequestError
from segduet.networks.cross_stitch import is_cross_stitch
from segduet.training.config import OptimizerConfig, RateFactors

Part = Literal["encoder", "decoder", "heads", "cross_stitch", "balancing", "other"]

#: Decay would pull these to 0, which for them is no neutral value.
_NEVER_DECAYED: tuple[Part, ...] = ("cross_stitch", "balancing")


def build_optimizer(
    network: nn.Module, config: OptimizerConfig, extra: Iterable[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """SGD or AdamW with a group per part of the network, and per decay within it.

    Each group remembers its part under `part` and its top rate under `top_lr`, which is the
    learning rate times the part's factor; `set_rate` scales from it. A part no factor is for
    learns at the learning rate itself.

    Args:
        network: each of its parameters joins exactly one group.
        config: optimiser and rates.
        extra: learned loss weights, the part `balancing`.

    Raises:
        RequestError: a factor is changed for a part that has no parameters.
    """
    parts = _by_part(network, extra)
    _refuse_idle_factors(config.rate_factors, parts)
    groups = [group for part, members in parts.items() for group in _groups(part, members, config)]
    if config.name == "adamw":
        return torch.optim.AdamW(groups)
    return torch.optim.SGD(groups, momentum=config.momentum, nesterov=config.momentum > 0)


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Sets every group's rate to its top rate times `factor`; returns the first group's."""
    for group in optimizer.param_groups:
        group["lr"] = group["top_lr"] * factor
    return float(optimizer.param_groups[0]["lr"])


def part_of(parameter_name: str) -> Part:
    """Part of the network a parameter belongs to.

    The first module on its path that is called `encoder`, `decoder` or `heads`, else `other`; but
    `cross_stitch` for the units that join two columns.
    """
    part = _first_named(parameter_name.split("."))
    if part != "heads" and is_cross_stitch(parameter_name):
        return "cross_stitch"
    return part


def _first_named(path: list[str]) -> Part:
    for module in path:
        match module:
            case "encoder" | "decoder" | "heads":
                return module
    return "other"


def _by_part(network: nn.Module, extra: Iterable[nn.Parameter]) -> dict[Part, list[nn.Parameter]]:
    parts: dict[Part, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        parts.setdefault(part_of(name), []).append(parameter)
    balancing = list(extra)
    return {**parts, "balancing": balancing} if balancing else parts


def _refuse_idle_factors(factors: RateFactors, parts: Collection[str]) -> None:
    for part, field in type(factors).model_fields.items():
        if part not in parts and getattr(factors, part) != field.default:
            raise RequestError(
                f"optimizer.rate_factors.{part}",
                found=f"{getattr(factors, part)} for a training without such parameters",
                expected=f"a factor for one of {sorted(parts)}",
                remedy="Remove this factor, or choose a network or balancing that has the part.",
            )


def _groups(
    part: Part, members: list[nn.Parameter], config: OptimizerConfig
) -> list[dict[str, Any]]:
    factor = 1.0 if part == "other" else getattr(config.rate_factors, part)
    rate = config.learning_rate * factor
    decayed = [p for p in members if _decays(part, p, config)]
    spared = [p for p in members if not _decays(part, p, config)]
    common = {"part": part, "top_lr": rate, "lr": rate}
    return [
        {**common, "params": params, "weight_decay": decay}
        for params, decay in ((decayed, config.weight_decay), (spared, 0.0))
        if params
    ]


def _decays(part: Part, parameter: nn.Parameter, config: OptimizerConfig) -> bool:
    if part in _NEVER_DECAYED:
        return False
    return config.decay_norms or parameter.ndim > 1
