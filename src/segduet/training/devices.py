"""Which device and arithmetic a training uses; a choice is made once, stated and recorded."""

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import torch

from segduet.core.errors import RequestError
from segduet.training.launch import Launch
from segduet.training.processes import ONE_PROCESS, Processes

Precision = Literal["fp32", "bf16", "fp16"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How long a training's steps took in one way of computing them.

    Attributes:
        precision: see `Compute`.
        compiled: see `Compute`.
        step_seconds: median of a step; None where it was not tried.
        compile_seconds: what the first steps took longer.
        reason: why it was not tried; empty where it was.
    """

    precision: Precision
    compiled: bool
    step_seconds: float | None = None
    compile_seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Device, arithmetic and processes of a training.

    Attributes:
        device: where tensors live.
        precision: fp32, or the type autocast uses for convolutions and matrix products.
        compiled: whether steps run the network as a compiled program.
        trials: what precision and compiled were chosen among, by time; empty where they were not.
        processes: who shares out every batch.
    """

    device: torch.device
    precision: Precision
    compiled: bool = False
    trials: tuple[Trial, ...] = ()
    processes: Processes = ONE_PROCESS

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Context for forward passes (F48); does nothing for fp32."""
        enabled = self.precision != "fp32"
        return torch.autocast(self.device.type, dtype=_DTYPES[self.precision], enabled=enabled)

    def gradient_scaler(self) -> torch.amp.GradScaler:
        """Loss scaler; acts for fp16 only, whose gradients would otherwise underflow."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    def record(self) -> dict[str, Any]:
        """How steps are computed and what that was chosen among, as plain types."""
        return {
            "precision": self.precision,
            "compiled": self.compiled,
            "compute_trials": [asdict(trial) for trial in self.trials],
        }

    def as_recorded(self, record: Mapping[str, Any]) -> Self:
        """The same device and processes with the arithmetic of a `record`."""
        return replace(
            self,
            precision=record["precision"],
            compiled=record["compiled"],
            trials=tuple(Trial(**trial) for trial in record["compute_trials"]),
        )


_ALONE = Launch()


def choose_compute(device: str, precision: str, launch: Launch = _ALONE) -> Compute:
    """Resolves `auto`: CUDA where there is one; bf16 where the processor computes in it.

    Of several processes on a machine each takes the GPU of its own number.

    Raises:
        RequestError: a device that is not there, an unknown precision, fp16 on a CPU (it has no
            fp16 arithmetic), or fewer GPUs than processes.
    """
    chosen = _device(device) if launch.size == 1 else _own_device(device, launch)
    if precision not in ("auto", *_DTYPES):
        raise RequestError(
            f"--precision {precision}",
            found="no precision",
            expected=f"auto, {', '.join(_DTYPES)}",
            remedy="Choose one of them.",
        )
    if precision == "auto":
        precision = "bf16" if has_bf16(chosen) else "fp32"
    if precision == "fp16" and chosen.type == "cpu":
        raise RequestError(
            "--precision fp16",
            found="a CPU",
            expected="bf16 or fp32 on a CPU",
            remedy="Use --precision auto.",
        )
    return Compute(device=chosen, precision=precision)  # type: ignore[arg-type]


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise _no_device(name, "a name torch does not know") from error
    if device.type not in ("cpu", "cuda") or (
        device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    ):
        raise _no_device(name, f"{torch.cuda.device_count()} CUDA devices on this machine")
    return device


def _own_device(name: str, launch: Launch) -> torch.device:
    """The device of one of several processes on a machine."""
    if name not in ("auto", "cpu", "cuda"):
        raise RequestError(
            f"--device {name}",
            found=f"{launch.size} processes that would all use it",
            expected="auto, cpu or cuda; each process takes the GPU of its own number",
            remedy="Use --device cuda, and CUDA_VISIBLE_DEVICES to choose among GPUs.",
        )
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if launch.local_size > torch.cuda.device_count():
        raise RequestError(
            f"--device {name}",
            found=f"{launch.local_size} processes for {torch.cuda.device_count()} GPUs here",
            expected="a GPU for every process",
            remedy="Start fewer with --nproc-per-node, or use --device cpu.",
        )
    return torch.device("cuda", launch.local_rank)


def _no_device(name: str, found: str) -> RequestError:
    return RequestError(
        f"--device {name}",
        found=found,
        expected="auto, cpu, cuda or cuda:N",
        remedy="Choose a device this machine has.",
    )


def has_bf16(device: torch.device) -> bool:
    """Whether torch has bf16 kernels for a device; some processors only emulate them, slowly."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
