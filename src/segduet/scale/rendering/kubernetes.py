"""Jobs of Kubernetes (batch/v1): one for each unit, one file for each level of needs.

Kubernetes itself knows no order among Jobs. `submit.sh` keeps it: it applies a level, waits until
all its Jobs are complete, and goes on; it can be stopped and started again at any point.
"""

import math
from typing import Any

import yaml

from segduet.scale.rendering.containers import ContainerOptions
from segduet.scale.rendering.templating import render_script
from segduet.scale.submission import Submission, dependency_levels
from segduet.scale.unit import WorkUnit


def render_kubernetes(submission: Submission, options: ContainerOptions) -> dict[str, str]:
    """`submit.sh`, and a YAML file of Jobs for each level.

    Raises:
        RequestError: a unit that asks for part of a GPU.
    """
    files, levels = {}, []
    for depth, level in enumerate(dependency_levels(submission.units)):
        jobs = [_job(submission, options, unit) for unit in level]
        name = f"level-{depth}.yaml"
        files[name] = yaml.safe_dump_all(jobs, sort_keys=False)
        levels.append({"file": name, "num_jobs": len(jobs), "depth": depth})
    script = render_script(
        "kubernetes.sh.j2", study=submission.name, levels=levels, namespace=options.namespace
    )
    return {"submit.sh": script, **files}


def _job(submission: Submission, options: ContainerOptions, unit: WorkUnit) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(submission, options, unit),
        "spec": {
            "backoffLimit": submission.retries,
            # A bad request stays one, however often it is tried.
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": "segduet",
                            "operator": "In",
                            "values": [2],
                        },
                    }
                ]
            },
            "template": {
                "metadata": {"labels": _labels(submission, unit)},
                "spec": {
                    "restartPolicy": "Never",
                    "activeDeadlineSeconds": math.ceil(unit.resources.hours * 3600),
                    "containers": [options.container(submission, unit, "Kubernetes")],
                    "volumes": options.claims(),
                },
            },
        },
    }


def _metadata(submission: Submission, options: ContainerOptions, unit: WorkUnit) -> dict[str, Any]:
    place = {"namespace": options.namespace} if options.namespace else {}
    return {"name": submission.job_name(unit.name), **place, "labels": _labels(submission, unit)}


def _labels(submission: Submission, unit: WorkUnit) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "segduet",
        "segduet/study": submission.name,
        "segduet/unit": unit.name,
    }
