"""One optimiser step, refused where a loss or gradient is not finite."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from segduet.core.errors import TrainingError
from segduet.networks.joint import JointNetwork
from segduet.training.checkpoint import TrainingState
from segduet.training.config import Recipe
from segduet.training.devices import Compute
from segduet.training.objective import Objective
from segduet.training.samples import Batch


def train_step(
    state: TrainingState, batch: Batch, objective: Objective, recipe: Recipe, compute: Compute
) -> dict[str, float]:
    """Forward, balance, backward, unscale, clip, step, average; returns the raw losses (F34, F49).

    Raises:
        TrainingError: a loss, or a gradient outside the fp16 scaler's own recovery, is not finite;
            the optimiser has not moved. Names the step's cases.
    """
    network = state.network
    assert isinstance(network, JointNetwork)
    network.isolate_heads = state.balancer.isolates_heads(state.epoch)
    batch = batch.to(compute.device)
    with compute.autocast():
        outputs = network(batch.image)
    losses = objective(outputs, batch)
    total = state.balancer.combine(losses, epoch=state.epoch)
    _require_finite(losses, total, batch, state.epoch)
    state.optimizer.zero_grad(set_to_none=True)
    scaled: Tensor = state.scaler.scale(total)
    scaled.backward()  # type: ignore[no-untyped-call]
    state.scaler.unscale_(state.optimizer)
    norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_clip_norm)
    if not state.scaler.is_enabled() and not torch.isfinite(norm):
        raise _not_finite("the gradient", float(norm), batch, state.epoch)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if state.average:
        state.average.update(network)
    return {"loss": float(total.detach()), **{k: float(v.detach()) for k, v in losses.items()}}


def _require_finite(losses: Mapping[str, Tensor], total: Tensor, batch: Batch, epoch: int) -> None:
    if torch.isfinite(total):
        return
    for name, loss in losses.items():
        if not torch.isfinite(loss):
            raise _not_finite(f"loss {name!r}", float(loss.detach()), batch, epoch)
    raise _not_finite("the balanced loss", float(total.detach()), batch, epoch)


def _not_finite(what: str, value: float, batch: Batch, epoch: int) -> TrainingError:
    return TrainingError(
        f"training, epoch {epoch}, cases {list(batch.cases)}",
        found=f"{what} = {value}",
        expected="finite losses and gradients",
        remedy="Check these cases (`segduet check`), lower the learning rate, or use fp32.",
    )
