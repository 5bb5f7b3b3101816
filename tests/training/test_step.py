import math
from dataclasses import replace

import pytest
import torch

from segduet.balancing.config import GradNormConfig
from segduet.balancing.registry import build_balancer
from segduet.core.errors import DataError, TrainingError
from segduet.training.interference import InterferenceMonitor
from segduet.training.loop import initial_state, train
from segduet.training.samples import batches
from segduet.training.step import train_step


def _first_batch(job):
    return next(batches(job.patches, batch_size=2, first_step=0, last_step=1, workers=0))


def _step(job, batch=None):
    state = initial_state(job)
    return state, _train(job, state, batch or _first_batch(job))


def _train(job, state, batch):
    monitor = InterferenceMonitor(job.recipe.interference, job.patches.tasks)
    return train_step(state, batch, job.objective, job.recipe, job.compute, monitor=monitor)


def test_the_total_is_the_weighted_sum_of_the_logged_losses(make_job):
    """F34: both raw losses are logged."""
    balancing = {"kind": "fixed", "segmentation_weight": 0.5, "task_weight": 3.0}
    _, losses = _step(make_job(balancing=balancing))
    expected = 0.5 * losses["segmentation"] + 3.0 * losses["task:kind"]
    assert losses["loss"] == pytest.approx(expected, rel=1e-6)


def test_a_loss_that_is_not_finite_names_the_cases_and_moves_nothing(make_job):
    job = make_job()
    batch = _first_batch(job)
    batch.image[0] = float("nan")
    state = initial_state(job)
    before = {k: v.clone() for k, v in state.network.named_parameters()}
    with pytest.raises(TrainingError, match=batch.cases[0]):
        _train(job, state, batch)
    assert all(torch.equal(before[k], v) for k, v in state.network.named_parameters())


def test_gradients_are_clipped_to_the_limit(make_job):
    """F49: with a tiny limit the gradients' norm is the limit."""
    state, _ = _step(make_job(gradient_clip_norm=1e-3))
    norms = [p.grad.norm() for p in state.network.parameters() if p.grad is not None]
    assert torch.stack(norms).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_isolated_heads_leave_the_encoder_without_class_gradient(make_job):
    """F35: phase one, isolated: encoder 0, head not 0."""
    balancing = {
        "kind": "two_phase",
        "segmentation_weight": 0.0,
        "first_task_weight": 1.0,
        "isolate_first_phase": True,
        "switch_epoch": 2,
    }
    state, _ = _step(make_job(balancing=balancing))
    encoder = [p.grad for p in state.network.encoder.parameters()]
    heads = [p.grad for p in state.network.heads.parameters()]
    assert all(g is None or not g.any() for g in encoder)
    assert any(g.any() for g in heads)


def test_an_unknown_class_trains_the_masks_only(make_job):
    """B03: the gradient of the missing task is exactly zero."""
    job = make_job()
    batch = _first_batch(job)
    batch.targets["kind"].fill_(math.nan)
    state, losses = _step(job, batch)
    assert losses["task:kind"] == 0.0
    assert not any(p.grad.any() for p in state.network.heads.parameters() if p.grad is not None)
    assert any(p.grad.any() for p in state.network.encoder.parameters() if p.grad is not None)


#: One configuration per kind that changes with the training.
LEARNING = [
    {"kind": "uncertainty"},
    {"kind": "dwa"},
    {"kind": "gradnorm"},
    {"kind": "validation_rate"},
    {"kind": "plateau", "patience": 1, "min_delta": 1.0},
    {"kind": "gradient", "method": "pcgrad"},
]


@pytest.mark.parametrize("balancing", LEARNING, ids=lambda b: b["kind"])
def test_an_interrupted_training_goes_on_bit_for_bit(make_job, tmp_path, balancing):
    """F37, F38, F39, B10: 2N = N + save + load + N, for weights, losses and balancer."""
    settings = {"balancing": balancing, "steps_per_epoch": 2}
    straight = train(make_job(folder=tmp_path / "straight", **settings), resume=False)
    folder = tmp_path / "halves"
    train(make_job(folder=folder, until_epoch=2, **settings), resume=False)
    resumed = train(make_job(folder=folder, **settings), resume=True)
    assert resumed.balancer.state_dict() == straight.balancer.state_dict()
    seconds = {"seconds"}
    for ours, theirs in zip(resumed.history, straight.history, strict=True):
        assert {k: v for k, v in ours.items() if k not in seconds} == {
            k: v for k, v in theirs.items() if k not in seconds
        }
    for ours, theirs in zip(
        resumed.network.parameters(), straight.network.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("balancing", [*LEARNING[:3], {"kind": "guarded"}], ids=lambda b: b["kind"])
def test_the_balancing_reaches_the_weights(make_job, tmp_path, balancing):
    """F37, F38, B08: after three steps the encoder is not what fixed weights make it."""
    found = []
    for name, chosen in (("on", balancing), ("off", {"kind": "fixed", "task_weight": 1.0})):
        job = make_job(folder=tmp_path / name, balancing=chosen, epochs=3, steps_per_epoch=1)
        found.append(train(job, resume=False).network.encoder.state_dict())
    assert any(not torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_uncertainties_are_trained_by_the_optimiser(make_job):
    """F37: both s move, towards log(2 L) > 0 here."""
    state, losses = _step(make_job(balancing={"kind": "uncertainty"}))
    moved = state.balancer.progress()
    for name, value in moved.items():
        assert value != 0
        assert (value > 0) == (losses[name] > 0.5)


def test_gradient_surgery_leaves_what_one_task_owns_unchanged(make_job):
    """B08: heads get the class gradient, the last decoder layer segmentation's, as if alone."""
    job = make_job(balancing={"kind": "gradient", "method": "mgda"}, gradient_clip_norm=1e6)
    batch = _first_batch(job)
    state, _ = _step(job, batch)
    plain = {"kind": "fixed", "task_weight": 1.0}
    other, _ = _step(make_job(balancing=plain, gradient_clip_norm=1e6), batch)
    own = {id(p) for p in state.network.heads.parameters()}
    own |= {id(p) for p in state.network.decoder.seg_layers.parameters()}
    pairs = list(zip(state.network.parameters(), other.network.parameters(), strict=True))
    same = [torch.allclose(a.grad, b.grad) for a, b in pairs if a.grad is not None]
    are_own = [id(a) in own for a, _ in pairs if a.grad is not None]
    assert all(equal for equal, mine in zip(same, are_own, strict=True) if mine)
    assert not all(equal for equal, mine in zip(same, are_own, strict=True) if not mine)


@pytest.mark.parametrize(
    "balancing",
    [{"kind": "gradient", "method": "imtl_g"}, {"kind": "guarded"}, {"kind": "gradnorm"}],
    ids=lambda b: b["kind"],
)
def test_the_fp16_scaler_changes_no_gradient(make_job, balancing):
    """F48: on float32 arithmetic, a scale of 1024 (a power of two) gives the same step."""
    job = make_job(balancing=balancing)
    batch = _first_batch(job)
    plain, _ = _step(job, batch)
    scaled = initial_state(make_job(balancing=balancing))
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    _train(job, scaled, batch)
    for ours, theirs in zip(scaled.network.parameters(), plain.network.parameters(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "balancing", [{"kind": "guarded"}, {"kind": "gradient"}], ids=lambda b: b["kind"]
)
def test_an_overflow_of_the_scaler_skips_the_step(make_job, balancing):
    """F48: nothing moves, and the scale is halved."""
    job = make_job(balancing=balancing)
    state = initial_state(job)
    state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    before = [p.detach().clone() for p in state.network.parameters()]
    batch = _first_batch(job)
    batch = replace(batch, image=batch.image * 1e3)
    _train(job, state, batch)
    assert all(torch.equal(a, b) for a, b in zip(before, state.network.parameters(), strict=True))
    assert state.scaler.get_scale() == 2.0**126


def test_an_encoder_nobody_trains_is_no_obstacle(make_job):
    job = make_job(balancing={"kind": "gradnorm"})
    job.network.encoder.requires_grad_(False)
    state, losses = _step(job)
    assert state.balancer.weights(0) == {"segmentation": 1.0, "task:kind": 1.0}
    assert losses["loss"] == pytest.approx(losses["segmentation"] + losses["task:kind"])


def test_unknown_windows_do_not_enter_what_balancers_learn(make_job):
    """B03: a batch without a class, then one with; the class's first loss is the second's."""
    job = make_job(balancing={"kind": "gradnorm"})
    state, batch = initial_state(job), _first_batch(job)
    unknown = {"kind": torch.full_like(batch.targets["kind"], math.nan)}
    _train(job, state, replace(batch, targets=unknown))
    assert state.balancer.progress()["first"]["task:kind"] is None
    losses = _train(job, state, batch)
    assert state.balancer.progress()["first"]["task:kind"] == losses["task:kind"]


def test_balancing_state_of_another_method_on_resume_is_one_clear_error(make_job):
    """Issue 3, bad input: reached where the recipe's own check has been passed."""
    job = make_job(balancing={"kind": "dwa"}, until_epoch=1)
    train(job, resume=False)
    other = build_balancer(GradNormConfig(), tasks=["kind"], num_epochs=4)
    with pytest.raises(DataError, match=r"state of 'dwa'.*that of 'gradnorm'.*[Rr]esume"):
        train(replace(job, balancer=other), resume=True)


@pytest.mark.parametrize("kind", ["uncertainty", "gradnorm", "gradient", "guarded"])
def test_it_stays_finite_under_autocast(make_job, kind):
    """F37, F48: three epochs in bf16; gradients and the balancer's state are float32 or better."""
    job = make_job(balancing={"kind": kind}, precision="bf16", epochs=3)
    state = train(job, resume=False)
    gradients = [p.grad for p in state.network.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() and g.dtype == torch.float32 for g in gradients)
    assert all(0 < weight < 150 for weight in state.balancer.weights(3).values())
    assert state.history[-1]["train"]["segmentation"] < state.history[0]["train"]["segmentation"]
