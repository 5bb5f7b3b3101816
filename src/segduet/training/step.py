"""One optimiser step, refused where a loss or gradient is not finite."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from segduet.balancing.protocol import Trunk
from segduet.core.errors import TrainingError
from segduet.networks.joint import JointNetwork
from segduet.training.checkpoint import TrainingState
from segduet.training.config import Recipe
from segduet.training.devices import Compute
from segduet.training.interference import InterferenceMonitor
from segduet.training.objective import Objective
from segduet.training.processes import Processes
from segduet.training.samples import Batch


def train_step(
    state: TrainingState,
    batch: Batch,
    objective: Objective,
    recipe: Recipe,
    compute: Compute,
    *,
    monitor: InterferenceMonitor,
) -> dict[str, float]:
    """Forward, balance, backward, unscale, clip, step, average; returns the raw losses (F34, F49).

    Of several processes each brings its share of the batch; losses, gradients and so the new
    weights are those of the whole batch, the same everywhere.

    Raises:
        TrainingError: a loss, or a gradient outside the fp16 scaler's own recovery, is not finite;
            the optimiser has not moved. Names the step's cases.
    """
    network = state.network
    assert isinstance(network, JointNetwork)
    network.isolate_heads = state.balancer.isolates_heads(state.epoch)
    batch = batch.to(compute.device)
    with compute.autocast():
        outputs = (state.program or network)(batch.image)
    losses = objective(outputs, batch)
    _require_finite({**losses.terms, **losses.taught}, batch, state.epoch, compute.processes)
    state.optimizer.zero_grad(set_to_none=True)
    total = _backward(state, compute.processes, losses.terms, monitor)
    _require_finite({"balanced": total}, batch, state.epoch, compute.processes)
    state.scaler.unscale_(state.optimizer)
    norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_clip_norm)
    if not state.scaler.is_enabled() and not torch.isfinite(norm):
        raise _not_finite("the gradient", float(norm), batch, state.epoch, compute.processes)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if state.average:
        state.average.update(network)
    monitor.observe_answers(outputs.case_logits, batch.targets)
    return {"loss": float(total), **losses.logged}


def _backward(
    state: TrainingState,
    processes: Processes,
    losses: Mapping[str, Tensor],
    monitor: InterferenceMonitor,
) -> Tensor:
    """Gradients of the balanced losses, times the fp16 scaler's factor; the balanced loss."""
    network = state.network
    assert isinstance(network, JointNetwork)
    device = next(iter(losses.values())).device
    scale = state.scaler.scale(torch.ones((), device=device))
    encoder = tuple(p for p in network.encoder.parameters() if p.requires_grad)
    weights = state.balancer.weights(state.epoch)
    monitor.observe_gradients(losses, encoder, weights, scale=scale)
    trunk = Trunk(
        parameters=tuple(p for p in network.parameters() if p.requires_grad),
        anchor=_last_stage(network.encoder),
        added_up=processes.added_up,
    )
    return state.balancer.backward(losses, trunk, epoch=state.epoch, scale=scale)


def _last_stage(encoder: nn.Module) -> tuple[nn.Parameter, ...]:
    """Trained parameters of the deepest stage: of `stages`, or of the encoder's own parts."""
    stages = getattr(encoder, "stages", encoder).children()
    trained = [tuple(p for p in stage.parameters() if p.requires_grad) for stage in stages]
    deepest_first = [parameters for parameters in reversed(trained) if parameters]
    return deepest_first[0] if deepest_first else ()


def _require_finite(
    losses: Mapping[str, Tensor], batch: Batch, epoch: int, processes: Processes
) -> None:
    for name, loss in losses.items():
        if not torch.isfinite(loss):
            raise _not_finite(f"loss {name!r}", float(loss.detach()), batch, epoch, processes)


def _not_finite(
    what: str, value: float, batch: Batch, epoch: int, processes: Processes
) -> TrainingError:
    cases = [case for share in processes.gathered(batch.cases) for case in share]
    return TrainingError(
        f"training, epoch {epoch}, cases {cases}",
        found=f"{what} = {value}",
        expected="finite losses and gradients",
        remedy="Check these cases (`segduet check`), lower the learning rate, or use fp32.",
    )
