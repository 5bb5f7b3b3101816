"""Which classes a plan may name; nothing is imported merely because a file says so."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import nn

from segduet.core.errors import DataError
from segduet.core.plan import ArchitecturePlan

T = TypeVar("T")

_UNET = "dynamic_network_architectures.architectures.unet"
_RESIDUAL = "dynamic_network_architectures.building_blocks.residual"

_TORCH_CLASSES: tuple[type[nn.Module], ...] = (
    nn.Conv2d,
    nn.Conv3d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.GroupNorm,
    nn.LeakyReLU,
    nn.ReLU,
    nn.PReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Dropout,
    nn.Dropout2d,
    nn.Dropout3d,
)


def _plain_conv_unet() -> type[nn.Module]:
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    return PlainConvUNet  # type: ignore[no-any-return]


def _residual_encoder_unet() -> type[nn.Module]:
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet

    return ResidualEncoderUNet  # type: ignore[no-any-return]


ARCHITECTURES: dict[str, Callable[[], type[nn.Module]]] = {
    f"{_UNET}.PlainConvUNet": _plain_conv_unet,
    f"{_UNET}.ResidualEncoderUNet": _residual_encoder_unet,
    # Where older plans say the class is; it has moved since.
    "dynamic_network_architectures.architectures.residual_unet.ResidualEncoderUNet": (
        _residual_encoder_unet
    ),
}


def build_unet(
    architecture: ArchitecturePlan, *, num_channels: int, num_outputs: int, deep_supervision: bool
) -> nn.Module:
    """The planned network without heads, initialised as nnU-Net initialises it.

    Args:
        architecture: class name and arguments from a plan.
        num_channels: image channels.
        num_outputs: segmentation channels.
        deep_supervision: whether the decoder also returns its lower resolutions.

    Returns:
        A network with `.encoder` and `.decoder`; weights drawn from torch's global generator.

    Raises:
        DataError: the plan names a class outside the allow-list, or arguments the class refuses.
    """
    where = f"plan, {architecture.network_class_name}"
    found = _allowed(
        architecture.network_class_name, ARCHITECTURES, where="plan, network_class_name"
    )
    arguments = {**_resolved(architecture, where), "deep_supervision": deep_supervision}
    network_class: Any = found()
    try:
        network = network_class(input_channels=num_channels, num_classes=num_outputs, **arguments)
    except (TypeError, ValueError, AssertionError, IndexError, KeyError) as error:
        raise DataError(
            where,
            found=f"arguments it refuses: {error}",
            expected="the arguments nnU-Net's planner writes for this class",
            remedy="Correct arch_kwargs in the plan, or plan again.",
        ) from error
    network.apply(network.initialize)
    return network  # type: ignore[no-any-return]


def _resolved(architecture: ArchitecturePlan, where: str) -> dict[str, Any]:
    arguments = dict(architecture.arch_kwargs)
    names = _importable()
    for key in architecture.kw_requires_import:
        if key not in arguments:
            raise DataError(
                where,
                found=f"_kw_requires_import names {key!r}, which arch_kwargs lacks",
                expected="only names of arguments",
                remedy="Correct the plan, or plan again.",
            )
        if arguments[key] is not None:
            arguments[key] = _allowed(arguments[key], names, where=f"{where}, {key}")
    return arguments


def _importable() -> dict[str, type[nn.Module]]:
    from dynamic_network_architectures.building_blocks.residual import BasicBlockD, BottleneckD

    short = {f"torch.nn.{c.__name__}": c for c in _TORCH_CLASSES}
    full = {f"{c.__module__}.{c.__name__}": c for c in _TORCH_CLASSES}
    blocks = {f"{_RESIDUAL}.{c.__name__}": c for c in (BasicBlockD, BottleneckD)}
    return {**short, **full, **blocks}


def _allowed(name: Any, table: Mapping[str, T], *, where: str) -> T:
    if name not in table:
        raise DataError(
            where,
            found=repr(name),
            expected=f"one of {sorted(table)}",
            remedy="Plan again; classes outside this list are never imported.",
        )
    return table[name]
