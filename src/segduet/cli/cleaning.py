"""`cleanup`: learn from validation cases what mends label maps, and do it."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from segduet.cli.display import duration, print_result, progress
from segduet.cli.idle_options import refuse_idle
from segduet.cli.options import DataRootOption, JsonOption, WorkersOption, data_root, num_workers
from segduet.core.errors import RequestError
from segduet.core.manifest import RunManifest
from segduet.core.seeds import LARGEST_SEED

FAILED_CASES = 2


class CleanupAction(StrEnum):
    """What can be done."""

    LEARN = "learn"
    APPLY = "apply"


def register(app: typer.Typer) -> None:
    """Adds this group's command."""
    app.command()(cleanup)


def cleanup(
    action: Annotated[
        CleanupAction, typer.Argument(help="learn: find what helps; apply: mend label maps.")
    ],
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Run or model folders or evaluations of a fold [learn]; a folder that "
            "`predict` or nnU-Net wrote [apply].",
            metavar="FOLDER...",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Plan to write [learn], or folder [apply].")
    ],
    plan: Annotated[
        Path | None, typer.Option(help="Plan that `learn` wrote, or your own [apply only].")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=LARGEST_SEED,
            help="Seed of the intervals' resampling [learn only].",
            show_default="0",
        ),
    ] = None,
    root: DataRootOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mend label maps: stray components, holes, thin parts, lesions outside their organ."""
    if action is CleanupAction.LEARN:
        refuse_idle("cleanup", {"--plan": plan}, "with learn")
        outcome = _learn(sources, out, seed or 0, root, workers)
        print_result(outcome, learned_lines(outcome, out), as_json=as_json)
        return
    of_learn = {"--seed": seed, "--data-root": root, "--workers": workers}
    refuse_idle("cleanup", of_learn, "with apply")
    manifest = _apply(sources, out, plan, quiet=as_json)
    print_result(manifest.outcome, applied_lines(manifest, out), as_json=as_json)
    if manifest.outcome["failed"]:
        raise typer.Exit(FAILED_CASES)


def _learn(
    sources: Sequence[Path], out: Path, seed: int, root: Path | None, workers: int | None
) -> Any:
    from segduet.workflows.cleanup_learning import LearnRequest, learn_cleanup

    request = LearnRequest(sources=sources, out=out, seed=seed, workers=num_workers(workers))
    return learn_cleanup(data_root(root), request).outcome


def _apply(sources: Sequence[Path], out: Path, plan: Path | None, *, quiet: bool) -> RunManifest:
    from segduet.workflows.cleaning import ApplyRequest, apply_cleanup

    if plan is None or len(sources) > 1:
        raise RequestError(
            "segduet cleanup apply",
            found=f"{len(sources)} folders and " + (f"the plan {plan}" if plan else "no --plan"),
            expected="one folder of label maps and a plan",
            remedy="Learn a plan with `segduet cleanup learn`, or write one.",
        )
    request = ApplyRequest(predictions=sources[0], plan=plan, out=out)
    with progress(quiet=quiet) as show:
        return apply_cleanup(
            request, lambda done, total, case: show(f"cleanup: {case}", done / total)
        )


def learned_lines(outcome: Any, out: Path) -> list[str]:
    """Every trial, for a person.

    Args:
        outcome: of the manifest of `cleanup learn`.
        out: the plan.
    """
    return [
        *(_trial_line(trial) for trial in outcome["trials"]),
        f"{outcome['num_tried']} trials on {outcome['num_cases']} cases, "
        f"{len(outcome['steps'])} steps kept; plan in {out}",
    ]


def applied_lines(manifest: RunManifest, out: Path) -> list[str]:
    """What the steps did, for a person.

    Args:
        manifest: of `cleanup apply`.
        out: folder of the label maps.
    """
    outcome = manifest.outcome
    return [
        f"{outcome['cases']} cases in {duration(manifest.seconds)}, label maps in {out}",
        *(f"  {step_line(entry)}" for entry in outcome["cleanup"]["steps"]),
        *(f"note: {warning}" for warning in manifest.warnings),
        *(f"failed: {case}: {message}" for case, message in outcome["failed"].items()),
    ]


def step_line(entry: Any) -> str:
    """What one step did, for a person.

    Args:
        entry: as in the manifest.
    """
    spared = f", withheld from {entry['withheld']}" if entry["withheld"] else ""
    return f"{_name(entry['step'])}: changed {entry['changed_cases']} cases{spared}"


def _trial_line(trial: Any) -> str:
    difference, interval = trial["difference"], trial["difference"]["ci95"]
    limits = "95 % interval {:+.4f} to {:+.4f}".format(*interval) if interval else "no interval"
    return (
        f"{'kept' if trial['kept'] else 'not kept'}: {_name(trial['step'])}: DSC "
        f"{difference['value']:+.4f} ({limits}, n = {difference['n']}, "
        f"changed {trial['num_changed']})"
    )


def _name(step: Any) -> str:
    settings = [f"{k}={v}" for k, v in step.items() if k != "kind" and v not in (None, False)]
    return f"{step['kind']} {' '.join(settings)}"
