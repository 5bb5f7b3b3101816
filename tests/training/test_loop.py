import json
import os
import random
import signal
import time

import pytest
import torch

from endless_training import train_for_ever
from fork_server import fork_server
from segduet.core.errors import RequestError, TrainingError
from segduet.training.checkpoint import load_checkpoint, read_model
from segduet.training.loop import BEST_MODEL, CHECKPOINT, initial_state, train
from segduet.training.selection import periodic_model, periodic_models
from segduet.training.tensors import unique_tensors


def _weights(state):
    return {**unique_tensors(state.network), **unique_tensors(state.model)}


def test_both_losses_fall(make_job):
    """F45: on a separable toy the joint training learns both tasks."""
    job = make_job(
        epochs=6,
        steps_per_epoch=12,
        optimizer={"name": "adamw", "learning_rate": 1e-2},
        balancing={"kind": "fixed", "task_weight": 1.0},
    )
    history = train(job, resume=False).history
    first, last = history[0]["train"], history[-1]["train"]
    assert last["segmentation"] < 0.5 * first["segmentation"]
    assert last["task:kind"] < 0.7 * first["task:kind"]
    assert history[-1]["validation"]["patch_dice"] > 0.8


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_two_halves_equal_the_whole_bit_for_bit(make_job, tmp_path, optimizer):
    """B10, F45: 2N steps = N + save + load + N."""
    settings = {
        "optimizer": {"name": optimizer, "learning_rate": 1e-2},
        "sampling": {"augmentation": "default"},
    }
    whole = train(make_job(folder=tmp_path / "whole", **settings), resume=False)
    train(make_job(folder=tmp_path / "halves", until_epoch=2, **settings), resume=False)
    halves = train(make_job(folder=tmp_path / "halves", **settings), resume=True)
    expected = _weights(whole)
    assert all(torch.equal(expected[k], v) for k, v in _weights(halves).items())
    without_time = [
        [{k: v for k, v in record.items() if k != "seconds"} for record in state.history]
        for state in (whole, halves)
    ]
    assert without_time[0] == without_time[1]


def test_the_same_seed_repeats_and_another_does_not(make_job, tmp_path):
    """F58."""
    runs = [
        _weights(train(make_job(folder=tmp_path / str(i), seed=seed), resume=False))
        for i, seed in enumerate((0, 0, 1))
    ]
    assert all(torch.equal(runs[0][k], v) for k, v in runs[1].items())
    assert any(not torch.equal(runs[0][k], v) for k, v in runs[2].items())


def test_metrics_and_tensorboard_hold_every_epoch(make_job):
    """F55: the event file is read back."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    job = make_job()
    state = train(job, resume=False)
    lines = (job.run_folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2, 3]
    events = EventAccumulator(str(job.run_folder / "tensorboard"))
    events.Reload()
    scalars = events.Scalars("train/segmentation")
    assert [e.step for e in scalars] == [0, 1, 2, 3]
    assert scalars[-1].value == pytest.approx(state.history[-1]["train"]["segmentation"])
    assert {"learning_rate", "seconds", "validation/patch_dice"} <= set(events.Tags()["scalars"])


def test_the_learning_rate_follows_the_schedule(make_job):
    """F46: twelve steps, the last of each epoch at t = 2/12, 5/12, ..."""
    history = train(make_job(), resume=False).history
    expected = [1e-2 * (1 - step / 12) ** 0.9 for step in (2, 5, 8, 11)]
    assert [r["learning_rate"] for r in history] == pytest.approx(expected)


def test_progress_counts_every_step(make_job):
    job = make_job()
    seen = []
    object.__setattr__(job, "on_progress", seen.append)
    train(job, resume=False)
    assert [p.step for p in seen] == list(range(1, 13))
    assert seen[-1].seconds_left == 0
    assert set(seen[0].losses) == {"loss", "segmentation", "task:kind"}
    assert "epoch 0, step 1/12" in seen[0].line
    assert "0.0 min left" in seen[-1].line
    assert seen[5].share == 0.5


def test_best_joint_keeps_the_best_and_counts_the_candidates(make_job):
    """B09, F51: scores on a script; `last` would keep the final one."""
    scores = iter([0.3, 0.9, 0.5, 0.2])
    job = make_job(validation={"full_cases_every": 1, "selection": "best_joint"})
    object.__setattr__(job, "validate_full", lambda _network: {"score": next(scores)})
    state = train(job, resume=False)
    assert (state.best_score, state.num_candidates) == (0.9, 4)
    _, header = read_model(job.run_folder / BEST_MODEL)
    assert header["epoch"] == 2
    assert [r["full_case"]["score"] for r in state.history] == [0.3, 0.9, 0.5, 0.2]


def _full_case(dsc, f1):
    return {"score": (dsc + f1) / 2, "dsc": {"blob": dsc}, "task_score": {"kind": f1}}


def test_a_weighted_rule_chooses_another_epoch_than_the_joint_score(make_job, tmp_path):
    """F51: 0.9 DSC + 0.1 F1 prefers epoch 1; the joint score, which still has one, epoch 4."""
    measured = [_full_case(0.8, 0.2), _full_case(0.5, 0.5), _full_case(0.6, 0.9)]
    undefined = {**_full_case(0.9, 0.9), "task_score": {"kind": None}}
    weights = {"region:blob": 0.9, "task:kind": 0.1}
    chosen = {}
    for rule in ("best_joint", "best_weighted"):
        validation = {"full_cases_every": 1, "selection": rule}
        if rule == "best_weighted":
            validation["selection_weights"] = weights
        job = make_job(folder=tmp_path / rule, epochs=4, validation=validation)
        script = iter([*measured, undefined])
        object.__setattr__(job, "validate_full", lambda _network, s=script: next(s))
        object.__setattr__(job, "model_header", {"format": "a model"})
        state = train(job, resume=False)
        _, chosen[rule] = read_model(job.run_folder / BEST_MODEL)
    assert chosen["best_joint"]["epoch"] == 4
    assert chosen["best_weighted"] == {
        "format": "a model",
        "epoch": 1,
        "score": pytest.approx(0.74),
        "formula": "0.9 DSC(blob) + 0.1 score(kind), full validation cases",
    }
    assert state.num_candidates == 3


def test_a_rule_for_a_region_there_is_not_is_refused_before_the_first_step(make_job):
    validation = {
        "full_cases_every": 1,
        "selection": "best_weighted",
        "selection_weights": {"region:tumour": 1.0},
    }
    job = make_job(validation=validation)
    with pytest.raises(RequestError, match=r"region:tumour.*region:blob"):
        train(job, resume=False)
    assert not (job.run_folder / CHECKPOINT).exists()


def test_models_are_kept_on_the_way(make_job, tmp_path):
    """F51: after epochs 2 and 4 of 5, as a run stopped there; a new start removes them."""
    job = make_job(folder=tmp_path / "kept", epochs=5, keep_every=2)
    train(job, resume=False)
    assert [p.name for p in periodic_models(job.run_folder)] == [
        "model_epoch_0002.safetensors",
        "model_epoch_0004.safetensors",
    ]
    stopped = make_job(folder=tmp_path / "stopped", epochs=5, keep_every=2, until_epoch=2)
    expected = unique_tensors(train(stopped, resume=False).model)
    tensors, header = read_model(periodic_model(job.run_folder, 2))
    assert header["epoch"] == 2
    assert all(torch.equal(expected[k], v) for k, v in tensors.items())
    train(make_job(folder=tmp_path / "kept", epochs=5), resume=False)
    assert periodic_models(job.run_folder) == ()


def test_the_last_epochs_model_is_not_kept_twice(make_job):
    job = make_job(epochs=4, keep_every=2)
    train(job, resume=False)
    assert [p.name for p in periodic_models(job.run_folder)] == ["model_epoch_0002.safetensors"]


def test_the_default_rule_selects_nothing(make_job):
    """B09: no best model is kept, so validation figures are not chosen from anything."""
    job = make_job(validation={"full_cases_every": 1})
    object.__setattr__(job, "validate_full", lambda _network: {"score": 0.5})
    state = train(job, resume=False)
    assert state.num_candidates == 0
    assert not (job.run_folder / BEST_MODEL).exists()


class _Deadly:
    """A transform that kills the worker process it runs in."""

    def __call__(self, **_tensors):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_dead_worker_is_an_error_within_seconds(make_job):
    """Issue 2.7: never a hang."""
    job = make_job(workers=1)
    job.patches._transform = _Deadly()
    started = time.monotonic()
    with pytest.raises(TrainingError, match="--resume"):
        train(job, resume=False)
    assert time.monotonic() - started < 30


def test_a_kill_at_any_moment_leaves_a_readable_checkpoint(make_job):
    """B10: 20 kills at random moments, during saving too; each resume goes on from the last."""
    job = make_job(epochs=100_000, steps_per_epoch=1, validation={"patches_per_epoch": 0})
    context = fork_server()
    moments = random.Random(0)
    epochs = []
    for _ in range(20):
        process = context.Process(target=train_for_ever, args=(job,))
        process.start()
        _wait_for_checkpoint(job, longer_than=epochs[-1] if epochs else -1, process=process)
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        process.join()
        state = initial_state(make_job(epochs=100_000, steps_per_epoch=1))
        load_checkpoint(job.run_folder / CHECKPOINT, state, job.recipe)
        epochs.append(state.epoch)
    assert epochs == sorted(epochs)
    assert epochs[-1] >= 20


def _wait_for_checkpoint(job, *, longer_than, process):
    """Until one more epoch has been logged than the last checkpoint held."""
    log = job.run_folder / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = log.read_text().count("\n") if log.exists() else 0
        if lines > max(0, longer_than):
            return
        assert process.is_alive()
        time.sleep(0.005)
    raise AssertionError("no checkpoint within a minute")
