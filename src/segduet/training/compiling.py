"""The network of a training as a compiled program. B batch, C channels."""

import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path

import torch
from torch import Tensor

from segduet.core.errors import RequestError
from segduet.networks.joint import JointNetwork
from segduet.networks.outputs import TaskOutputs

_COMPILERS = {"darwin": "clang++", "win32": "cl"}


def obstacle_to_compiling(device: torch.device) -> str:
    """What keeps this machine from compiling for a device; empty where nothing does.

    torch.compile writes C++ for a CPU, which takes a compiler (that of CXX, if it is set) and
    Python's headers, and Triton for a GPU.
    """
    if device.type == "cuda":
        return "" if importlib.util.find_spec("triton") else "PyTorch without Triton"
    compiler = os.environ.get("CXX") or _COMPILERS.get(sys.platform, "g++")
    if shutil.which(compiler) is None:
        return f"no C++ compiler {compiler}"
    headers = Path(sysconfig.get_path("include"))
    return "" if (headers / "Python.h").is_file() else f"no Python.h in {headers}"


def require_compiler(device: torch.device) -> None:
    """Checks that a training that is to be compiled can be.

    Raises:
        RequestError: something is missing on this machine.
    """
    obstacle = obstacle_to_compiling(device)
    if obstacle:
        raise RequestError(
            "a training that is compiled",
            found=obstacle,
            expected="a C++ compiler and Python's headers; Triton on a GPU",
            remedy="Install them (on Debian g++ and python3-dev), or train with compile=false.",
        )


class CompiledNetwork:
    """Calls a network through torch.compile; the network itself, and its names, stay as they are.

    The first call compiles, which takes far longer than the others. Rounding differs a little from
    the network's own, and dropout draws other numbers, from the same stream.

    Args:
        network: called in training mode; windows are all of one shape.
    """

    def __init__(self, network: JointNetwork) -> None:
        # programs of earlier trainings in this process would count against torch's limit
        torch.compiler.reset()
        self._network = network
        self._program = torch.compile(network, dynamic=False)
        self._has_backward: set[bool] = set()  # by whether heads were isolated

    def __call__(self, image: Tensor) -> TaskOutputs:
        """Both answers for a batch of windows (B, C, *spatial), see `JointNetwork`.

        Raises:
            RequestError: the compiler failed, on the forward or the backward pass.
        """
        # imported here: it takes seconds, and most trainings do without
        from torch._dynamo.exc import ShortenTraceback

        try:
            outputs = self._answer(image)
        except ShortenTraceback as error:  # of every kind that a compiler raises
            cause = getattr(error, "inner_exception", error)
            raise RequestError(
                "compiling the network",
                found=f"an error of the compiler ({_first_line(cause)})",
                expected="a compiler that works with this PyTorch",
                remedy="Repair it, or train with compile=false.",
            ) from error
        return outputs

    def _answer(self, image: Tensor) -> TaskOutputs:
        # some steps go back through one graph more than once, so its buffers must live on
        with torch._functorch.config.patch(donated_buffer=False):
            outputs: TaskOutputs = self._program(image)
            if self._network.isolate_heads not in self._has_backward:
                _compile_backward(outputs, self._network)
                self._has_backward.add(self._network.isolate_heads)
        return outputs


def _compile_backward(outputs: TaskOutputs, network: JointNetwork) -> None:
    """Goes back through a new program once, in vain: torch compiles that way only when it is gone.

    A graph that is kept makes it a program that can be gone through more than once, which one
    compiled in a step that goes back once cannot.
    """
    answers = (*outputs.segmentation, *outputs.case_logits.values())
    total = torch.stack([answer.float().sum() for answer in answers]).sum()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    torch.autograd.grad(total, trained, retain_graph=True, allow_unused=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
