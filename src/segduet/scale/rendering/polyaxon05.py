"""A study in Polyaxon's schema of 2019 (0.5, `version: 1`), as the nerve ultrasound seed ran (F59).

It knows no needs among groups: submit `group-0-0.yaml` first, and the next level when it is done.
"""

import shlex
from typing import Any

import yaml

from segduet.scale.rendering.containers import ContainerOptions
from segduet.scale.submission import (
    Submission,
    alike,
    dependency_levels,
    megabytes,
    plain,
    whole_gpus,
)
from segduet.scale.unit import WorkUnit

_PARAMETER = "{{ unit }}"


def render_polyaxon05(
    submission: Submission, options: ContainerOptions, *, concurrency: int
) -> dict[str, str]:
    """A group for each level and kind of machine; the first unit as experiment; TensorBoard.

    `resume.yaml` goes on with the first unit where it stopped.

    Args:
        concurrency: experiments of a group that run at once.

    Raises:
        RequestError: a unit that asks for part of a GPU, or a path that could be misread.
    """
    plain(str(submission.study), "the study's path in containers")
    units = submission.units
    files = {
        "experiment.yaml": _experiment(submission, options, units[0]),
        "resume.yaml": {"version": 1, "kind": "experiment", "run": _run(submission, units[0].name)},
        "tensorboard.yaml": {
            "version": 1,
            "kind": "tensorboard",
            "build": {"image": options.image},
        },
    }
    for depth, level in enumerate(dependency_levels(units)):
        for part, (_, group) in enumerate(alike(level)):
            files[f"group-{depth}-{part}.yaml"] = _group(submission, options, group, concurrency)
    return {name: yaml.safe_dump(content, sort_keys=False) for name, content in files.items()}


def _experiment(
    submission: Submission, options: ContainerOptions, unit: WorkUnit
) -> dict[str, Any]:
    return {
        "version": 1,
        "kind": "experiment",
        "build": {"image": options.image},
        "environment": _environment(unit),
        "params": {"unit": unit.name},
        "run": _run(submission, _PARAMETER),
    }


def _group(
    submission: Submission, options: ContainerOptions, units: list[WorkUnit], concurrency: int
) -> dict[str, Any]:
    return {
        "version": 1,
        "kind": "group",
        "build": {"image": options.image},
        "environment": _environment(units[0]),
        "hptuning": {
            "concurrency": concurrency,
            "matrix": {"unit": {"values": [unit.name for unit in units]}},
        },
        "run": _run(submission, _PARAMETER),
    }


def _environment(unit: WorkUnit) -> dict[str, Any]:
    resources = {"cpu": unit.resources.cpus, "memory": megabytes(unit.resources)}
    gpus = whole_gpus(unit, "Polyaxon")
    asked = {**resources, "gpu": gpus} if gpus else resources
    return {"resources": {key: {"requests": v, "limits": v} for key, v in asked.items()}}


def _run(submission: Submission, unit_name: str) -> dict[str, str]:
    """The command as one line; Polyaxon puts the unit's name in place of `{{ unit }}`."""
    *words, name = submission.command(unit_name)
    return {"cmd": f"{shlex.join(words)} {name}"}  # the name is no word to quote: see WorkUnit
