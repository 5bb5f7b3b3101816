"""What tests let two processes do together; functions that another process can import."""

import contextlib
import copy
import ctypes
import io
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segduet.core.errors import DataError, TrainingError
from segduet.networks.standardise import RunningStandardiser
from segduet.training import process_group
from segduet.training.agreement import require_equal_states
from segduet.training.checkpoint import TrainingState
from segduet.training.distillation import Distillation, TeacherAnswers
from segduet.training.launch import Launch
from segduet.training.loop import TrainingJob, initial_state, train
from segduet.training.objective import Objective
from segduet.training.processes import ONE_PROCESS, Processes
from segduet.training.progress import Progress
from segduet.training.sensors import Temperatures
from segduet.training.shared_layers import share_layers
from segduet.training.tensors import unique_tensors
from segduet.training.thermal import ThermalConfig, ThermalGuard

CPU = torch.device("cpu")


def shared(job: TrainingJob, processes: Processes) -> TrainingJob:
    """The job with its batches shared out."""
    job.objective._whole = processes.joined
    job.objective.segmentation.loss._added_up = processes.summed
    return replace(job, compute=replace(job.compute, processes=processes))


def weights(state: TrainingState) -> dict[str, np.ndarray]:
    """Of the network, and of its average."""
    average = {f"average.{k}": v for k, v in unique_tensors(state.model).items()}
    found = {**unique_tensors(state.network), **average}
    return {name: tensor.detach().numpy().copy() for name, tensor in found.items()}


def train_all(processes: Processes, jobs: Mapping[str, tuple[TrainingJob, bool]]) -> Any:
    """Name -> (history, weights) of trainings one after the other; each with whether to resume."""
    found = {}
    for name, (job, resume) in jobs.items():
        state = train(shared(job, processes), resume=resume)
        found[name] = state.history, weights(state)
    return found


class Told:
    """A teacher whose answers are simple functions of the image."""

    def answer(self, image: Tensor) -> TeacherAnswers:
        """Masks of two channels; one network that answers by mean and spread."""
        answer = torch.stack([image.flatten(1).mean(1), image.flatten(1).std(1)], 1)
        features = image.flatten(1)[:, :5]
        return TeacherAnswers(
            masks=torch.cat([image, -image], 1),
            cases={"kind": [answer]},
            features={"kind": [features]},
        )


def losses_of_shares(
    processes: Processes, objectives: Mapping[str, Any], batches: Mapping[str, Any]
) -> dict[str, tuple[float, float, float]]:
    """(loss, how far the whole batch's is off, how far its gradient is off) of every term."""
    found = {}
    for kind, parts in objectives.items():
        for name, given in batches.items():
            whole = _terms(parts, ONE_PROCESS, given, slice(None))
            rows = processes.share(range(4))
            own = slice(rows[0], rows[-1] + 1)
            mine = _terms(parts, processes, given, own)
            for term, (loss, gradients) in mine.items():
                expected, slopes = whole[term]
                off = max(
                    float((a - b[own]).abs().max()) for a, b in zip(gradients, slopes, strict=True)
                )
                found[f"{kind}, {name}, {term}"] = loss, abs(loss - expected), off
    return found


def _terms(
    parts: Any, processes: Processes, given: Any, rows: slice
) -> dict[str, tuple[float, list[Tensor]]]:
    """Term -> loss, and its gradient at every output of the rows."""
    ((segmentation, tasks), distilling), (batch, outputs) = parts, given
    segmentation.loss._added_up = processes.summed
    distillation = None
    if distilling:
        distillation = Distillation(**distilling, teacher=Told(), processes=processes)
    objective = Objective(segmentation, tasks, distillation, processes)
    own = [t[rows].clone().requires_grad_() for t in _tensors(outputs)]
    losses = objective(_rebuilt(outputs, own), _rows(batch, rows)).terms
    found = {}
    for term, loss in losses.items():
        slopes = torch.autograd.grad(loss, own, retain_graph=True, allow_unused=True)
        full = [torch.zeros_like(t) if g is None else g for t, g in zip(own, slopes, strict=True)]
        found[term] = float(loss.detach()), full
    return found


def _tensors(outputs: Any) -> list[Tensor]:
    return [
        *outputs.segmentation,
        *outputs.case_logits.values(),
        *outputs.case_features.values(),
    ]


def _rebuilt(outputs: Any, tensors: Sequence[Tensor]) -> Any:
    rest = iter(tensors)
    return replace(
        outputs,
        segmentation=tuple(next(rest) for _ in outputs.segmentation),
        case_logits={name: next(rest) for name in outputs.case_logits},
        case_features={name: next(rest) for name in outputs.case_features},
    )


def _rows(batch: Any, rows: slice) -> Any:
    return replace(
        batch,
        cases=batch.cases[rows],
        image=batch.image[rows],
        label_map=batch.label_map[rows],
        has_mask=batch.has_mask[rows],
        targets={k: v[rows] for k, v in batch.targets.items()},
        evidence={k: v[rows] for k, v in batch.evidence.items()},
    )


def layers_of_shares(processes: Processes) -> dict[str, float]:
    """How far layers that see a share are off from the same that see all, in shares of the top."""
    found = {}
    for name, layer, shape in (
        ("batch norm", nn.BatchNorm3d(3), (4, 3, 2, 4, 5)),
        ("plain batch norm", nn.BatchNorm2d(3, affine=False, momentum=None), (4, 3, 4, 5)),
        ("dropout", nn.Dropout(0.5), (4, 6)),
        ("dropout of maps", nn.Dropout2d(0.5), (4, 6, 3, 3)),
        ("standardiser", RunningStandardiser(6), (4, 6)),
    ):
        generator = torch.Generator().manual_seed(1)
        values, slopes = (torch.randn(shape, generator=generator) + 1 for _ in range(2))
        whole, parts = nn.Sequential(layer), copy.deepcopy(nn.Sequential(layer))
        share_layers(parts, processes)
        rows = processes.share(range(4))
        expected = _learnt(whole, values, slopes)
        mine = _learnt(parts, values[rows[0] : rows[-1] + 1], slopes[rows[0] : rows[-1] + 1])
        expected[:2] = [tensor[rows[0] : rows[-1] + 1] for tensor in expected[:2]]
        mine[2:4] = processes.added_up(mine[2:4])  # gradients of weight and bias, where there are
        found[name] = max(
            float((a - b).abs().max() / b.abs().max().clamp_min(1))
            for a, b in zip(mine, expected, strict=True)
        )
    return found


def _learnt(network: nn.Module, values: Tensor, slopes: Tensor) -> list[Tensor]:
    """Two passes: outputs and their gradient, gradients of parameters, buffers."""
    torch.manual_seed(0)
    network.train()
    network(values)
    values = values.clone().requires_grad_()
    outputs = network(values)
    (outputs * slopes).sum().backward()
    assert values.grad is not None
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    gradients += [torch.zeros(1)] * (2 - len(gradients))
    return [outputs.detach(), values.grad, *gradients, *network.buffers()]


def parted(processes: Processes, job: TrainingJob) -> str:
    """What is said when the second process has another weight in its last place."""
    state = initial_state(shared(job, processes))
    require_equal_states(state, processes)
    if processes.rank == 1:
        with torch.no_grad():
            list(state.network.parameters())[-1].view(-1)[-1].add_(1e-6)
    return _message(lambda: require_equal_states(state, processes))


def not_a_number(processes: Processes, job: TrainingJob) -> str:
    """What is said when the second process alone meets an image that is not finite."""
    job = shared(job, processes)
    if processes.rank == 1:
        first = next(job.network.parameters())
        first.register_hook(lambda gradient: gradient * float("nan"))
    return _message(lambda: train(job, resume=False))


def _message(work: Any) -> str:
    try:
        work()
    except TrainingError as error:
        return str(error)
    return "no error"


def pauses(processes: Processes) -> list[float | None]:
    """Seconds each of three checks paused for; only the second process's machine gets hot."""
    heat = iter([50, 80, 79, 50, 50] if processes.rank == 1 else [50] * 5)
    clock = iter(range(100))
    guard = ThermalGuard(
        ThermalConfig(enabled=True, check_every=1),
        lambda: Temperatures(cpu_celsius=next(heat), gpu_celsius=None),
        uses_gpu=False,
        agreed=processes.any,
        clock=lambda: float(next(clock)),
        sleep=lambda _seconds: None,
    )
    found = [guard.wait(step) for step in range(3)]
    return [pause.seconds if pause else None for pause in found]


def everything(processes: Processes, work: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Name -> what the function made of its arguments; one start for many tests."""
    return {name: function(processes, *rest) for name, (function, *rest) in work.items()}


def ends_badly(launch: Launch, job: TrainingJob, how: str) -> None:
    """A long training; one process ends after the fourth step, and both are patient for 1 s."""
    os.dup2(os.open(f"{job.run_folder}.{launch.rank}", os.O_WRONLY | os.O_CREAT), 2)
    process_group._GRACE_SECONDS = process_group._REASON_SECONDS = 1.0

    dying = 0 if how == "first killed" else 1

    def watch(progress: Progress) -> None:
        if progress.step == 4 and launch.rank == dying:
            _end(how)
        if progress.step == 4 and launch.rank == 0 and how == "while the other is stuck":
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            ctypes.CDLL(None).sleep(60)  # no Python runs, as in a collective on a GPU

    with process_group.joined_processes(launch, CPU) as processes:
        train(shared(replace(job, on_progress=watch), processes), resume=False)


def _end(how: str) -> None:
    match how:
        case "killed" | "first killed" | "while the other is stuck":
            os.kill(os.getpid(), signal.SIGKILL)
        case "terminated":
            os.kill(os.getpid(), signal.SIGTERM)
        case "interrupted":
            raise KeyboardInterrupt
        case "by an error":
            raise DataError("case_7", found="noise", expected="an image", remedy="Look at it.")


def segduet(_: Launch, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and error of a command."""
    from segduet.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as ending:
            return int(ending.code or 0), out.getvalue(), err.getvalue()
    raise AssertionError
