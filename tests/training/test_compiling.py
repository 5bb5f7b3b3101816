import functools
import shutil
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from segduet.core.errors import RequestError
from segduet.training.checkpoint import read_model
from segduet.training.compiling import CompiledNetwork, require_compiler
from segduet.training.config import Recipe
from segduet.training.loop import CHECKPOINT, train
from segduet.training.tensors import unique_tensors

CPU = torch.device("cpu")


def test_without_a_compiler_it_is_one_clear_message(monkeypatch):
    """Issue 4.8, bad input."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(RequestError, match=r"no C\+\+ compiler no-such-compiler.*compile=false"):
        require_compiler(CPU)


def test_without_pythons_headers_it_is_one_clear_message(monkeypatch, tmp_path):
    """Issue 4.8, bad input: torch would fail in the middle of the first step."""
    (tmp_path / "c++").touch(mode=0o755)
    monkeypatch.setenv("CXX", str(tmp_path / "c++"))
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    with pytest.raises(RequestError, match=r"no Python\.h in"):
        require_compiler(CPU)
    (tmp_path / "Python.h").touch()
    require_compiler(CPU)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"compute": "measured"}, "compile has no effect where compute is measured"),
        ({"balancing": {"kind": "gradient"}}, "balancing gradient must know"),
        ({"balancing": {"kind": "guarded"}}, "balancing guarded must know"),
    ],
)
def test_a_compilation_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate({"compile": True, **settings})


def _no_space(*_):
    raise OSError("no space left\nand more")


def _no_triton(*_):
    from torch._inductor.exc import TritonMissing  # takes seconds

    raise TritonMissing(first_useful_frame=None)


def _no_space_for_backward(*program):
    """As torch's own compiler: forward is compiled in the call, backward when it is gone."""
    from torch._dynamo.backends.common import aot_autograd
    from torch._functorch.aot_autograd import make_boxed_func
    from torch._inductor.exc import InductorError

    def forward(graph, _inputs):
        return make_boxed_func(graph.forward)

    def backward(_graph, _inputs):
        raise InductorError(OSError("no space left"), None)

    return aot_autograd(fw_compiler=forward, bw_compiler=backward)(*program)


@pytest.mark.parametrize(
    ("backend", "found"),
    [
        (_no_space, "no space left"),
        (_no_triton, "Cannot find a working triton"),
        (_no_space_for_backward, "no space left"),
    ],
)
def test_a_compiler_that_fails_is_one_clear_message(make_job, monkeypatch, backend, found):
    """Issue 4.8, bad input: before the backward pass, also where only that cannot be compiled."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    program = CompiledNetwork(make_job().network)
    with pytest.raises(RequestError, match=rf"\({found}.*compile=false"):
        program(torch.zeros(2, 1, 8, 16, 16))


@pytest.fixture
def traced(monkeypatch):
    """torch.compile without C++: it traces both passes, but runs them by torch's own kernels."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))


def test_steps_that_go_back_once_and_more_often_take_turns(make_job, traced):
    """B08: interference is measured in some steps only, which then keep the graph."""
    network = make_job().network
    program = CompiledNetwork(network)
    for keeps in (False, True, False):
        total = program(torch.ones(2, 1, 8, 16, 16)).case_logits["kind"].sum()
        total.backward(retain_graph=keeps)
    assert all(head.grad is not None for head in network.heads.parameters())


def _job(make_job, folder, *, compiled, **more):
    """Every step goes back through its graph three times: interference, gradnorm, weights."""
    job = make_job(
        folder=folder,
        head={"hidden": [8], "dropout": 0.0},
        balancing={"kind": "gradnorm"},
        interference={"every_steps": 1},
        validation={"patches_per_epoch": 0},
        **{"epochs": 2, "steps_per_epoch": 2, "details_every": 0},
    )
    return replace(job, compute=replace(job.compute, compiled=compiled), **more)


def test_a_compiled_training_is_a_plain_one_and_goes_on_bit_for_bit(make_job, tmp_path, traced):
    """F75, B10: the same losses and names, and 2N = N + save + load + N.

    What a run killed in the second epoch leaves is kept aside and resumed. (The real compiler takes
    too long for a test: benchmarks/training_speed.py.)
    """

    def keep_first_epoch(progress):
        if progress.epoch == 1:
            shutil.copytree(tmp_path / "compiled", tmp_path / "killed", dirs_exist_ok=True)

    plain = train(_job(make_job, tmp_path / "plain", compiled=False), resume=False)
    folder, hook = tmp_path / "compiled", keep_first_epoch
    compiled = train(_job(make_job, folder, compiled=True, on_progress=hook), resume=False)
    assert compiled.program is not None
    for mine, theirs in zip(compiled.history, plain.history, strict=True):
        assert mine["train"] == pytest.approx(theirs["train"], rel=1e-4)
        measured, expected = mine["interference"]["kind"], theirs["interference"]["kind"]
        assert measured == pytest.approx(expected, rel=1e-3, abs=1e-4)
    ours, theirs = (read_model(tmp_path / name / CHECKPOINT) for name in ("compiled", "plain"))
    assert ours[0].keys() == theirs[0].keys()
    assert (ours[1]["compute"]["compiled"], theirs[1]["compute"]["compiled"]) == (True, False)
    resumed = train(_job(make_job, tmp_path / "killed", compiled=True), resume=True)
    expected = unique_tensors(compiled.network)
    assert all(torch.equal(expected[k], v) for k, v in unique_tensors(resumed.network).items())
