"""A network converted for a runtime: which files, and what their inputs and outputs are called.

Two graphs: one for windows, which is all of the network but the heads' last layers, and one for
those layers, which turn sums (of a window, or added up over a case) into answers. Whoever converts
a network and whoever runs it meet in the names below. B windows, N windows or cases.

windows: inputs `image` (B, C, *spatial) and `shares` (B, 1, *spatial); outputs `logits`
    (B, K, *spatial) where the network segments, and per task i `sums_i` (B, S) and `evidence_i`
    (B,).
heads: per task i an input `sums_i` (N, S); outputs `logits_i` (N, outputs) and `features_i` (N, F).

All are float32; `spatial` is (z, y, x) of a 3D network and (y, x) of a 2D one. The batch and the
spatial sizes are free, the latter as multiples of the network's total stride.
"""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator

from segduet.core.tasks import TaskSpec

IMAGE, SHARES, LOGITS = "image", "shares", "logits"


class RuntimeFormat(StrEnum):
    """File formats of converted networks."""

    OPENVINO = "openvino"
    ONNX = "onnx"


class StoredPrecision(StrEnum):
    """Number format of a converted network's weights: fp32, or quantised to 8 bits."""

    FP32 = "fp32"
    INT8 = "int8"


class ConvertedNetwork(BaseModel):
    """One converted network; files are named relative to the folder that holds them.

    Attributes:
        windows_file: graph of the windows.
        heads_file: graph of the heads; None where the network answers no task.
        tasks: what it answers about a case, in the order of the graphs' outputs, regressions with
            the scale of its own training cases.
        with_masks: whether it segments.
        num_spatial_dims: 2 or 3.
        total_strides: by how much the network shrinks each spatial axis, from the image to its
            deepest features.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: RuntimeFormat
    stored_precision: StoredPrecision
    windows_file: str
    heads_file: str | None
    tasks: tuple[TaskSpec, ...]
    with_masks: bool
    num_spatial_dims: int
    total_strides: tuple[PositiveInt, ...]

    @model_validator(mode="after")
    def _has_a_stride_per_axis(self) -> Self:
        if len(self.total_strides) != self.num_spatial_dims:
            raise ValueError(
                f"{len(self.total_strides)} total strides for {self.num_spatial_dims} axes"
            )
        return self


def sums_name(task_index: int) -> str:
    """Name of what a head knows of a window, input and output."""
    return f"sums_{task_index}"


def evidence_name(task_index: int) -> str:
    """Name of a task's evidence in the graph of the windows."""
    return f"evidence_{task_index}"


def answer_names(task_index: int) -> tuple[str, str]:
    """Names of a task's logits and features in the graph of the heads."""
    return f"logits_{task_index}", f"features_{task_index}"


def window_outputs(num_tasks: int, *, with_masks: bool) -> list[str]:
    """Names of the outputs of the graph of the windows, in order."""
    per_task = [name for i in range(num_tasks) for name in (sums_name(i), evidence_name(i))]
    return [LOGITS, *per_task] if with_masks else per_task


def heads_outputs(num_tasks: int) -> list[str]:
    """Names of the outputs of the graph of the heads, in order."""
    return [name for i in range(num_tasks) for name in answer_names(i)]
