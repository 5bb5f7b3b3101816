"""What `--mode fast` may leave out for a model, and what it must not (F72, B13)."""

import math
from collections.abc import Sequence

from segduet.core.errors import RequestError
from segduet.inference.engines.runtimes import EngineName
from segduet.windows.tiles import Shape
from segduet.workflows.models import Model, ModelFolder


def no_body_crop_because(model: Model) -> str | None:
    """Why a model's images are not cropped to the body; None where they are."""
    if model.configuration.num_spatial_dims != 3:
        return "a 2D network"
    if set(model.configuration.normalization_schemes) != {"CTNormalization"}:
        return "images that are no CT"
    return None


def crops_body(model: Model, wanted: bool | None) -> bool:
    """Whether a model's images are cropped to the body in fast mode.

    Args:
        model: whose plan says what its images are.
        wanted: None leaves it to the model.

    Raises:
        RequestError: it was asked for by name, and the model is not one of 3D CTs.
    """
    obstacle = no_body_crop_because(model)
    if wanted and obstacle is not None:
        raise RequestError(
            f"--body-crop, {model.source}",
            found=obstacle,
            expected="a 3D network whose plan has CTNormalization for every channel",
            remedy="Leave --body-crop out.",
        )
    return wanted is not False and obstacle is None


def no_fitted_windows_because(
    model: Model, total_strides: Sequence[Sequence[int]], engine: EngineName
) -> str | None:
    """Why a model's windows are not fitted to small images; None where they are.

    Args:
        model: whose plan says how large a window is.
        total_strides: of each of its networks, one number per spatial axis.
        engine: what runs them.
    """
    if engine is EngineName.TENSORRT:
        return "TensorRT, which builds the network anew for every size of window"
    patch = model.configuration.patch_size
    if any(length % step for length, step in zip(patch, _joint(total_strides), strict=True)):
        return "a patch that is no multiple of the network's total stride"
    return None


def window_multiple(
    model: Model,
    total_strides: Sequence[Sequence[int]],
    engine: EngineName,
    wanted: bool | None,
) -> Shape | None:
    """What windows fitted to small images are multiples of, (z, y, x); None where they are not.

    Args:
        model: whose plan says how large a window is.
        total_strides: of each of its networks, one number per spatial axis.
        engine: what runs them.
        wanted: None leaves it to the model and the engine.

    Raises:
        RequestError: it was asked for by name, and cannot be had.
    """
    obstacle = no_fitted_windows_because(model, total_strides, engine)
    if wanted and obstacle is not None:
        raise RequestError(
            f"--fit-windows, {model.source}",
            found=obstacle,
            expected="networks that take windows of any multiple of their total stride",
            remedy="Leave --fit-windows out.",
        )
    if wanted is False or obstacle is not None:
        return None
    z, y, x = (1, *_joint(total_strides))[-3:]
    return (z, y, x)


def _joint(total_strides: Sequence[Sequence[int]]) -> list[int]:
    """Per axis, what is a multiple of every network's total stride."""
    return [math.lcm(*steps) for steps in zip(*total_strides, strict=True)]


def require_coarse_fit(
    coarse: Model | ModelFolder, fine: Model | ModelFolder, *, where: str
) -> None:
    """Refuses a coarse model that cannot find the region for a fine one.

    Args:
        coarse: finds the region.
        fine: answers in it.
        where: the option and the coarse model, for messages.

    Raises:
        RequestError: one of them is 2D or a cascade's second stage, or they differ in labels,
            channels or the order of the axes, or the coarse one is not coarser.
    """
    for model in (coarse, fine):
        _require_3d_alone(model, where)
    for name, found, wanted in (
        ("labels", coarse.labels, fine.labels),
        ("channels", coarse.description.channel_names, fine.description.channel_names),
        ("order of the axes", coarse.plan.transpose_forward, fine.plan.transpose_forward),
    ):
        if found != wanted:
            raise RequestError(
                where,
                found=f"another model's {name}: {found}",
                expected=f"{wanted}, as of the model whose region it finds",
                remedy="Name a coarse model of the same dataset.",
            )
    spacings = (coarse.configuration.spacing, fine.configuration.spacing)
    if math.prod(spacings[0]) <= math.prod(spacings[1]):
        raise RequestError(
            where,
            found=f"a spacing of {spacings[0]} mm",
            expected=f"larger voxels than the {spacings[1]} mm of the model it saves work for",
            remedy="Name a model of a coarser configuration, such as 3d_lowres.",
        )


def require_masks(coarse_segments: bool, fine_segments: bool, *, where: str) -> None:
    """Refuses models without masks: what to look at, and whether it was enough, both need them.

    Raises:
        RequestError: one of them only classifies.
    """
    if not (coarse_segments and fine_segments):
        raise RequestError(
            where,
            found="a model that only classifies",
            expected="a coarse model and a fine one that both segment",
            remedy="Predict without --coarse.",
        )


def _require_3d_alone(model: Model | ModelFolder, where: str) -> None:
    configuration = model.configuration
    if configuration.num_spatial_dims == 3 and configuration.previous_stage is None:
        return
    is_2d = configuration.num_spatial_dims != 3
    raise RequestError(
        where,
        found="a 2D network" if is_2d else "the second stage of a cascade",
        expected="3D networks that answer from the image alone",
        remedy="Predict without --coarse.",
    )
