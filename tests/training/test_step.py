import pytest
import torch

from segduet.core.errors import TrainingError
from segduet.training.loop import _initial_state
from segduet.training.samples import batches
from segduet.training.step import train_step


def _first_batch(job):
    return next(batches(job.patches, batch_size=2, first_step=0, last_step=1, workers=0))


def _step(job, batch=None):
    state = _initial_state(job)
    losses = train_step(state, batch or _first_batch(job), job.objective, job.recipe, job.compute)
    return state, losses


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
    state = _initial_state(job)
    before = {k: v.clone() for k, v in state.network.named_parameters()}
    with pytest.raises(TrainingError, match=batch.cases[0]):
        train_step(state, batch, job.objective, job.recipe, job.compute)
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
    batch.classes["kind"].fill_(-1)
    state, losses = _step(job, batch)
    assert losses["task:kind"] == 0.0
    assert not any(p.grad.any() for p in state.network.heads.parameters() if p.grad is not None)
    assert any(p.grad.any() for p in state.network.encoder.parameters() if p.grad is not None)
