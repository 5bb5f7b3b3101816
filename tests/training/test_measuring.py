from dataclasses import replace

import pytest
import torch

from segduet.core.errors import RequestError
from segduet.training import measuring
from segduet.training.devices import Trial
from segduet.training.loop import train
from segduet.training.measuring import measured_compute, whole_seconds
from segduet.training.tensors import unique_tensors


@pytest.fixture
def scripted(monkeypatch):
    """Steps take what the script says by precision and compiled; nothing is computed.

    Keyword arguments are seconds of a step: `fp32`, `bf16`, `compiled`; compiling takes 400 s.
    """

    def script(*, obstacle="", **step_seconds):
        def seconds(job, _shown):
            compute = job.compute
            step = step_seconds["compiled" if compute.compiled else compute.precision]
            return [step + 400.0 * compute.compiled, step, step, step, step]

        monkeypatch.setattr(measuring, "_seconds_of_steps", seconds)
        monkeypatch.setattr(measuring, "obstacle_to_compiling", lambda _device: obstacle)
        monkeypatch.setattr(measuring, "has_bf16", lambda _device: True)

    return script


def _chosen(job):
    compute = measured_compute(job)
    return compute.precision, compute.compiled


def test_the_faster_precision_is_taken(make_job, scripted):
    """F48."""
    job = make_job(precision="auto", compute="measured")
    scripted(fp32=2.0, bf16=1.0)
    assert _chosen(job) == ("bf16", False)
    scripted(fp32=1.0, bf16=2.0)
    assert _chosen(job) == ("fp32", False)


def test_a_precision_that_is_asked_for_is_the_only_one_tried(make_job, scripted):
    scripted(fp32=1.0)
    trials = measured_compute(make_job(precision="fp32", compute="measured")).trials
    assert {trial.precision for trial in trials} == {"fp32"}


@pytest.mark.parametrize(
    ("num_steps", "is_compiled"),
    [(790, False), (810, True)],
)
def test_compiling_must_win_its_time_back(make_job, scripted, num_steps, is_compiled):
    """400 s for 0.5 s less in every step: from 800 steps on."""
    scripted(fp32=1.5, bf16=1.0, compiled=0.5)
    job = make_job(precision="auto", compute="measured", epochs=num_steps // 10, steps_per_epoch=10)
    assert _chosen(job) == ("bf16", is_compiled)


def test_the_whole_time_is_compiling_and_all_steps():
    trial = Trial(precision="bf16", compiled=True, step_seconds=0.5, compile_seconds=30.0)
    assert whole_seconds(trial, 100) == 80.0


@pytest.mark.parametrize(
    ("settings", "obstacle", "reason"),
    [
        ({}, "", "too short"),
        ({"epochs": 1000}, "no C++ compiler g++", "no C++ compiler g++"),
        ({"epochs": 1000, "balancing": {"kind": "guarded"}}, "", "guarded"),
    ],
)
def test_what_is_not_compiled_is_recorded_with_its_reason(
    make_job, scripted, settings, obstacle, reason
):
    """Nothing is compiled here, or the script would not know its seconds."""
    scripted(fp32=1.0, obstacle=obstacle)
    compute = measured_compute(make_job(precision="fp32", compute="measured", **settings))
    assert not compute.compiled
    assert [trial.compiled for trial in compute.trials] == [False, True]
    assert compute.trials[1].step_seconds is None
    assert reason in compute.trials[1].reason
    assert compute.as_recorded(compute.record()) == compute


def test_a_compiler_that_fails_is_recorded_and_nothing_is_compiled(make_job, scripted, monkeypatch):
    def fail(job, _shown):
        if job.compute.compiled:
            raise RequestError("compiling", found="an error", expected="none", remedy="Repair it.")
        return [1.0] * 5

    scripted(fp32=1.0)
    monkeypatch.setattr(measuring, "_seconds_of_steps", fail)
    compute = measured_compute(make_job(precision="fp32", compute="measured", epochs=1000))
    assert not compute.compiled
    assert compute.trials[1].reason == "an error"


def test_bf16_is_left_out_where_its_gradients_are_wrong(make_job, scripted, monkeypatch):
    """The reason is recorded; the script knows no seconds of bf16."""
    job = make_job(precision="auto", compute="measured")
    pooled = torch.nn.MaxPool3d((4, 1, 1))  # windows of 8 slices become 2
    thin = torch.nn.Sequential(pooled, torch.nn.Conv3d(1, 16, 3, padding=1))
    scripted(fp32=2.0)
    compute = measured_compute(replace(job, network=thin))
    assert (compute.precision, compute.compiled) == ("fp32", False)
    assert (compute.trials[1].precision, compute.trials[1].step_seconds) == ("bf16", None)
    assert "2 deep" in compute.trials[1].reason
    assert compute.as_recorded(compute.record()) == compute


@pytest.fixture
def scarce(scripted, monkeypatch):
    """Memory is short for fp32 and compiled steps, and with more than 2 windows for all."""

    def run_out(job, _shown):
        compute = job.compute
        if compute.compiled or compute.precision == "fp32":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        if job.batch_size > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return [1.0] * 5

    scripted()
    monkeypatch.setattr(measuring, "_seconds_of_steps", run_out)


def test_what_does_not_fit_into_memory_is_recorded_and_out(make_job, scarce):
    compute = measured_compute(make_job(precision="auto", compute="measured", epochs=1000))
    assert (compute.precision, compute.compiled) == ("bf16", False)
    found = [(t.precision, t.compiled, t.step_seconds, t.reason) for t in compute.trials]
    assert found == [
        ("fp32", False, None, "not enough memory"),
        ("bf16", False, 1.0, ""),
        ("bf16", True, None, "not enough memory"),
    ]


def test_nothing_that_fits_into_memory_is_one_clear_message(make_job, scarce):
    """Bad input."""
    job = replace(make_job(precision="auto", compute="measured"), batch_size=4)
    found = "fp32: not enough memory; bf16: not enough memory.*Lower batch_size"
    with pytest.raises(RequestError, match=found):
        measured_compute(job)


def test_other_errors_of_torch_are_not_taken_for_memory(make_job, scripted, monkeypatch):
    def fail(_job, _shown):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    scripted()
    monkeypatch.setattr(measuring, "_seconds_of_steps", fail)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        measured_compute(make_job(precision="fp32", compute="measured"))


@pytest.mark.parametrize("kind", ["uncertainty", "gradnorm"])
def test_measuring_changes_nothing_of_the_training(make_job, tmp_path, kind):
    """F58, B10: weights, losses and balancer of the training after it, bit for bit.

    The head drops out, and the balancers learn.
    """
    settings = {
        "balancing": {"kind": kind},
        "head": {"hidden": [8], "dropout": 0.5},
        "validation": {"patches_per_epoch": 0},
        **{"epochs": 1, "steps_per_epoch": 3, "details_every": 0},
    }
    plain = train(make_job(folder=tmp_path / "plain", **settings), resume=False)
    job = make_job(folder=tmp_path / "measured", compute="measured", **settings)
    random_state = torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in unique_tensors(job.network).items()}
    compute = measured_compute(job)
    assert compute.trials[0].step_seconds > 0
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(before[k], v) for k, v in unique_tensors(job.network).items())
    measured = train(replace(job, compute=compute), resume=False)
    ours, theirs = (unique_tensors(state.network) for state in (measured, plain))
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert measured.balancer.state_dict() == plain.balancer.state_dict()
    assert [r["train"] for r in measured.history] == [r["train"] for r in plain.history]
