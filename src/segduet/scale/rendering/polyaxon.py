"""A study for Polyaxon in its current schema (1.1): one operation that is a graph of its units."""

import math
from typing import Any

import yaml

from segduet.scale.rendering.containers import ContainerOptions
from segduet.scale.submission import Submission
from segduet.scale.unit import WorkUnit


def render_polyaxon(submission: Submission, options: ContainerOptions) -> dict[str, str]:
    """`study.yaml`, for `polyaxon run -f study.yaml`.

    Raises:
        RequestError: a unit that asks for part of a GPU.
    """
    known = {unit.name for unit in submission.units}
    operation = {
        "version": 1.1,
        "kind": "operation",
        "name": submission.name,
        "tags": ["segduet"],
        "component": {
            "version": 1.1,
            "kind": "component",
            "run": {
                "kind": "dag",
                "operations": [
                    _operation(submission, options, unit, known) for unit in submission.units
                ],
            },
        },
    }
    return {"study.yaml": yaml.safe_dump(operation, sort_keys=False)}


def _operation(
    submission: Submission, options: ContainerOptions, unit: WorkUnit, known: set[str]
) -> dict[str, Any]:
    needs = [name for name in unit.needs if name in known]
    return {
        "kind": "operation",
        "name": unit.name,
        **({"dependencies": needs} if needs else {}),
        "termination": {
            "maxRetries": submission.retries,
            "timeout": math.ceil(unit.resources.hours * 3600),
        },
        "component": {
            "kind": "component",
            "run": {
                "kind": "job",
                "environment": {"restartPolicy": "Never"},
                "volumes": options.claims(),
                "container": options.container(submission, unit, "Polyaxon"),
            },
        },
    }
