"""How a training computes its steps: as its recipe says, as measured, or as it began."""

import logging
from dataclasses import replace

from segduet.core.errors import RequestError
from segduet.preparation.cascade import num_input_channels
from segduet.training.bf16_gradients import obstacle_to_bf16
from segduet.training.checkpoint import read_compute
from segduet.training.compiling import require_compiler
from segduet.training.devices import Compute, Trial, choose_compute
from segduet.training.loop import CHECKPOINT
from segduet.training.measuring import measured_compute
from segduet.workflows.train_request import TrainRequest
from segduet.workflows.training_run import TrainingRun

log = logging.getLogger(__name__)


def requested_compute(request: TrainRequest) -> Compute:
    """Device and arithmetic that the request asks for; what is to be measured comes later.

    Raises:
        RequestError: a device or precision that cannot be had, a compilation without a compiler,
            or one that several processes would have to agree on.
    """
    recipe, launch = request.recipe, request.launch
    compute = choose_compute(request.device, recipe.precision, launch)
    for name, is_on in (
        ("compile=true", recipe.compile),
        ("compute=measured", recipe.compute == "measured"),
    ):
        if is_on and launch.size > 1:
            raise RequestError(
                f"recipe, {name}",
                found=f"{launch.size} processes that train together",
                expected="a single process",
                remedy="Leave it out, or start without torchrun.",
            )
    if recipe.compile:
        require_compiler(compute.device)
    return replace(compute, compiled=recipe.compile)


def settled(run: TrainingRun) -> TrainingRun:
    """The run with the way of computing that its whole training keeps.

    bf16 is kept from a network whose gradients would be wrong in it: `auto` takes fp32 and says
    so. Where the recipe has it measured, a training that begins measures, and one that goes on
    takes what was chosen then.

    Raises:
        RequestError: bf16 was asked for, or chosen on another machine, where gradients are wrong.
        DataError, RequestError: the checkpoint to go on from is damaged or of another recipe, or
            this machine lacks the compiler it was begun with.
    """
    recipe = run.request.recipe
    if recipe.precision == "bf16":
        _require_right_gradients(run, "--precision bf16")
    if recipe.compute == "fixed":
        return _in_fp32_if_bf16_is_wrong(run)
    if run.request.resume:
        recorded = read_compute(run.folder / CHECKPOINT, recipe)
        run = replace(run, compute=run.compute.as_recorded(recorded))
        _require_right_gradients(run, f"{run.folder / CHECKPOINT}, measured choice")
        if run.compute.compiled:
            require_compiler(run.compute.device)
    else:
        run = replace(run, compute=measured_compute(run.job(lambda _: None)))
    line = chosen_line(run.compute)
    log.info(line)
    return replace(run, warnings=[*run.warnings, line])


def _require_right_gradients(run: TrainingRun, where: str) -> None:
    obstacle = _obstacle(run)
    if obstacle:
        raise RequestError(
            where,
            found=obstacle,
            expected="fp32 for this network on a CPU",
            remedy="Train anew with --precision fp32, or with a patch of another depth.",
        )


def _in_fp32_if_bf16_is_wrong(run: TrainingRun) -> TrainingRun:
    obstacle = _obstacle(run)
    if not obstacle:
        return run
    line = f"computes in fp32, not in bf16: {obstacle}"
    log.warning(line)
    compute = replace(run.compute, precision="fp32")
    return replace(run, compute=compute, warnings=[*run.warnings, line])


def _obstacle(run: TrainingRun) -> str:
    """What makes the run's bf16 wrong; empty where nothing does, or it does not compute in it."""
    if run.compute.precision != "bf16":
        return ""
    num_channels = num_input_channels(
        run.configuration,
        num_image_channels=run.planned.description.num_channels,
        labels=run.planned.labels,
    )
    window = (num_channels, *run.configuration.patch_size)
    return obstacle_to_bf16(run.network, window, run.compute.device)


def chosen_line(compute: Compute) -> str:
    """What was chosen by measurement, and among what, in one line."""
    tried = ", ".join(f"{_name(t)} {_seconds(t)}" for t in compute.trials)
    chosen = Trial(precision=compute.precision, compiled=compute.compiled)
    return f"computes in {_name(chosen)}, measured at the start: {tried}"


def _name(trial: Trial) -> str:
    return f"{trial.precision} compiled" if trial.compiled else trial.precision


def _seconds(trial: Trial) -> str:
    if trial.step_seconds is None:
        return f"not tried ({trial.reason})"
    compiling = f" after {trial.compile_seconds:.0f} s" if trial.compiled else ""
    return f"{trial.step_seconds:.3f} s a step{compiling}"
