"""Which runtime answers, on which device and in which precision, and why. Imports no runtime.

What is wanted, what the machine has and what the model has come as three records, so that the
choice can be made, and tested, for any machine.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from segduet.core.errors import RequestError
from segduet.core.runtime import RuntimeFormat, StoredPrecision
from segduet.inference.engines.machine import DeviceType, Machine
from segduet.inference.engines.runtimes import INSTALL_TORCH, RUNTIMES, EngineName, Runtime

PRECISIONS = ("fp32", "bf16", "fp16", "int8")


class PredictionMode(StrEnum):
    """Whether precision `auto` means the exact answer, or the fastest number format there is."""

    EXACT = "exact"
    FAST = "fast"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """What the user wants.

    Attributes:
        engine: a runtime, or `auto`.
        device: auto, cpu, cuda or cuda:N.
        precision: auto, fp32, bf16, fp16 or int8.
        mode: what precision `auto` means.
        keep_attention: whether maps of where the heads look are wanted; only torch gives them.
    """

    engine: EngineName = EngineName.AUTO
    device: str = "auto"
    precision: str = "auto"
    mode: PredictionMode = PredictionMode.EXACT
    keep_attention: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelForms:
    """In which forms a model is at hand.

    Attributes:
        has_weights: whether there are weights for PyTorch, which can also be converted; a bundle
            has none.
        converted: graphs that exist already.
    """

    has_weights: bool
    converted: frozenset[tuple[RuntimeFormat, StoredPrecision]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """What was chosen.

    Attributes:
        engine: a runtime, never `auto`.
        device: cpu, cuda or cuda:N.
        precision: fp32, bf16, fp16 or int8 (the graph quantised to 8 bits).
        why: one sentence for the user and the manifest.
    """

    engine: EngineName
    device: str
    precision: str
    why: str


#: What engine `auto` tries, best first; never TensorRT, which builds for minutes before it answers.
_PREFERENCE: dict[DeviceType, tuple[EngineName, ...]] = {
    "cuda": (EngineName.TORCH, EngineName.ONNX),
    "cpu": (EngineName.OPENVINO, EngineName.ONNX, EngineName.TORCH),
}

#: What precision `auto` tries in fast mode, best first.
_FASTEST: dict[DeviceType, tuple[str, ...]] = {
    "cuda": ("bf16", "fp16", "fp32"),
    "cpu": ("int8", "bf16", "fp32"),
}


def choose_engine(request: EngineRequest, *, machine: Machine, model: ModelForms) -> EngineChoice:
    """The runtime, device and precision for a request.

    On a GPU engine `auto` takes torch, else ONNX Runtime; on a CPU OpenVINO, else ONNX Runtime,
    else torch: the first that is installed and can run the model as asked. Device `auto` is the
    GPU where there is one and the engine runs there. Precision `auto` is fp32 in exact mode; in
    fast mode int8 where the model has it, else bf16 where the processor has it. What is asked for
    by name is never replaced.

    Raises:
        RequestError: an unknown device or precision, or what was asked for cannot be had: it is
            not installed, there is no such device, or the model does not have that form.
    """
    _require_known(request)
    refused: dict[EngineName, RequestError] = {}
    for candidate in _candidates(request, machine, model):
        try:
            precision = candidate.precision()
        except RequestError as error:
            refused[candidate.engine] = error
            continue
        return EngineChoice(
            engine=candidate.engine,
            device=candidate.device,
            precision=precision,
            why=_reason(candidate, precision, refused),
        )
    raise _nothing_serves(request, refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """One runtime on one device; refuses what it cannot do."""

    engine: EngineName
    device: str
    request: EngineRequest
    machine: Machine
    model: ModelForms

    def precision(self) -> str:
        """What it would compute in.

        Raises:
            RequestError: it cannot serve the request.
        """
        self._require_attention()
        self._require_device()
        self._require_installed()
        *before, last = self._precisions_to_try()
        for precision in before:
            if self._obstacle(precision) is None:
                return precision
        if obstacle := self._obstacle(last):
            raise obstacle
        return last

    @property
    def runtime(self) -> Runtime:
        """What its runtime needs and offers."""
        return RUNTIMES[self.engine]

    @property
    def device_type(self) -> DeviceType:
        """The device without its number."""
        return cast(DeviceType, self.device.partition(":")[0])

    def _precisions_to_try(self) -> tuple[str, ...]:
        if self.request.precision != "auto":
            return (self.request.precision,)
        if self.request.mode is PredictionMode.EXACT:
            return ("fp32",)
        return _FASTEST[self.device_type]

    def _require_attention(self) -> None:
        if self.request.keep_attention and self.engine is not EngineName.TORCH:
            raise self._refusal(
                "a wish for maps of attention",
                expected="PyTorch, the only engine that gives them",
                remedy="Use --engine torch, or leave --attention out.",
            )

    def _require_device(self) -> None:
        if self.device_type not in self.runtime.packages:
            raise self._refusal(
                f"device {self.device}",
                expected=f"device {' or '.join(self.runtime.packages)}",
                remedy="Choose that device, or another engine.",
            )
        if self.device_type == "cuda" and not self.machine.has_cuda:
            raise self._refusal(
                "no NVIDIA GPU that can be used",
                expected=f"one for device {self.device}",
                remedy="Choose --device cpu, or another engine.",
            )

    def _require_installed(self) -> None:
        package = self.runtime.packages[self.device_type]
        if package not in self.machine.packages:
            raise self._refusal(
                f"{package} is not installed",
                expected=f"the package {package}",
                remedy=f"Install it ({self.runtime.install}), or choose another engine.",
            )

    def _obstacle(self, precision: str) -> RequestError | None:
        """What keeps the runtime from answering in this precision."""
        offered = self.runtime.precisions[self.device_type]
        if precision not in offered:
            return self._refusal(
                f"precision {precision} on {self.device}",
                expected=f"one of {', '.join(offered)}",
                remedy="Choose one of them, or another engine.",
            )
        if precision == "bf16" and not self._computes_in_bf16():
            return self._refusal(
                f"precision bf16 on {self.device}",
                expected="a processor that computes in bf16, which this one does not",
                remedy="Use --precision fp32.",
            )
        return self._obstacle_of_form(precision)

    def _computes_in_bf16(self) -> bool:
        # torch emulates it: slower than fp32, but what was asked for; OpenVINO would compute in
        # fp32 without a word
        emulated = self.engine is EngineName.TORCH and self.request.precision == "bf16"
        return emulated or self.device_type in self.machine.bf16_on

    def _obstacle_of_form(self, precision: str) -> RequestError | None:
        """What the model lacks for this precision."""
        graph = self.runtime.graph
        if graph is None:
            return None if self.model.has_weights else self._no_weights()
        stored = StoredPrecision.INT8 if precision == "int8" else StoredPrecision.FP32
        if (graph, stored) in self.model.converted:
            return None
        if stored is StoredPrecision.INT8:
            return self._refusal(
                "a model without an 8-bit network",
                expected=f"an {graph} network quantised to 8 bits",
                remedy="Make one with `segduet export --precision int8`, or use another precision.",
            )
        missing = [name for name in self.runtime.converters if name not in self.machine.packages]
        if not self.model.has_weights or missing:
            return self._no_graph(missing)
        return None

    def _no_weights(self) -> RequestError:
        return self._refusal(
            "a model without PyTorch weights",
            expected="a model folder",
            remedy="Use --engine auto, or the model folder that this bundle was made from.",
        )

    def _no_graph(self, missing: list[str]) -> RequestError:
        graph = self.runtime.graph
        if not self.model.has_weights:
            has_int8 = (graph, StoredPrecision.INT8) in self.model.converted
            other = "--precision int8, which it has" if has_int8 else "--engine auto"
            return self._refusal(
                f"a model without an {graph} network in fp32",
                expected="that network, or PyTorch weights to make it from",
                remedy=f"Use {other}, or export the model again.",
            )
        return self._refusal(
            f"a model without an {graph} network, and {', '.join(missing)} not installed",
            expected="that network, or what makes it from PyTorch weights",
            remedy=f"Install what is missing ({INSTALL_TORCH}), or export the model elsewhere.",
        )

    def _refusal(self, found: str, *, expected: str, remedy: str) -> RequestError:
        where = f"--engine {self.engine}"
        return RequestError(where, found=found, expected=expected, remedy=remedy)


def _candidates(
    request: EngineRequest, machine: Machine, model: ModelForms
) -> Iterator[_Candidate]:
    for device in _devices(request, machine):
        device_type = cast(DeviceType, device.partition(":")[0])
        is_auto = request.engine is EngineName.AUTO
        for engine in _PREFERENCE[device_type] if is_auto else (request.engine,):
            yield _Candidate(
                engine=engine, device=device, request=request, machine=machine, model=model
            )


def _devices(request: EngineRequest, machine: Machine) -> list[str]:
    """Devices to try, best first."""
    if request.device != "auto":
        return [request.device]
    is_auto = request.engine is EngineName.AUTO
    offered = list(_PREFERENCE if is_auto else RUNTIMES[request.engine].packages)
    usable = [device for device in offered if device == "cpu" or machine.has_cuda]
    return list(usable or offered)


def _require_known(request: EngineRequest) -> None:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", request.device):
        raise RequestError(
            f"--device {request.device}",
            found="a device segduet does not know",
            expected="auto, cpu, cuda or cuda:N",
            remedy="Choose one of them.",
        )
    if request.precision not in ("auto", *PRECISIONS):
        raise RequestError(
            f"--precision {request.precision}",
            found="no precision",
            expected=f"auto, {', '.join(PRECISIONS)}",
            remedy="Choose one of them.",
        )


def _reason(candidate: _Candidate, precision: str, refused: dict[EngineName, RequestError]) -> str:
    request = candidate.request
    if request.engine is candidate.engine:
        chosen = f"{candidate.engine} was asked for"
    else:
        chosen = f"auto takes {candidate.engine} on {candidate.device}"
    if request.precision != "auto":
        number_format = f"{precision} was asked for"
    elif request.mode is PredictionMode.EXACT:
        number_format = f"{precision} gives the exact answer"
    else:
        number_format = f"{precision} is the fastest it has here"
    others = "".join(
        f"; {name} cannot serve: {error.found}"
        for name, error in refused.items()
        if name is not candidate.engine
    )
    return f"{chosen}, {number_format}{others}."


def _nothing_serves(
    request: EngineRequest, refused: dict[EngineName, RequestError]
) -> RequestError:
    if request.engine is not EngineName.AUTO:
        return refused[request.engine]
    return RequestError(
        f"--engine auto --device {request.device} --precision {request.precision}",
        found="; ".join(f"{name}: {error.found}" for name, error in refused.items()),
        expected="an engine that serves all of it",
        remedy=next(iter(refused.values())).remedy,
    )
