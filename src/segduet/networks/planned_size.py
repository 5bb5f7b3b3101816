"""A planned network, wider or deeper than planned (F20)."""

from collections.abc import Callable
from typing import Any

from segduet.core.errors import DataError
from segduet.core.plan import ArchitecturePlan
from segduet.networks.backbone_config import PlannedConfig

_WIDTHS = ("features_per_stage",)
_DEPTHS = ("n_conv_per_stage", "n_blocks_per_stage")  # plain and residual encoders


def resized(architecture: ArchitecturePlan, config: PlannedConfig) -> ArchitecturePlan:
    """The plan's architecture with the widths and encoder depths the configuration asks for.

    Raises:
        DataError: a width or depth in the plan is not a number.
    """
    arguments = dict(architecture.arch_kwargs)
    changes: list[tuple[tuple[str, ...], Callable[[int], int]]] = [
        (_WIDTHS, lambda width: max(1, round(width * config.width_factor))),
        (_DEPTHS, lambda depth: depth + config.extra_depth),
    ]
    for keys, change in changes:
        arguments |= {key: _each(arguments, key, change) for key in keys if key in arguments}
    return architecture.model_copy(update={"arch_kwargs": arguments})


def _each(arguments: dict[str, Any], key: str, change: Callable[[int], int]) -> int | list[int]:
    value = arguments[key]
    try:
        return [change(entry) for entry in value] if isinstance(value, list) else change(value)
    except TypeError as error:
        raise DataError(
            f"plan, arch_kwargs, {key}",
            found=repr(value),
            expected="a whole number, or one per stage",
            remedy="Correct the plan, or plan again.",
        ) from error
