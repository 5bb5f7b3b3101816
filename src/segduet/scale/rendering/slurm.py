"""Job arrays of Slurm: one array for each level of needs and kind of machine."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from segduet.scale.rendering.templating import render_script
from segduet.scale.submission import (
    Submission,
    alike,
    dependency_levels,
    megabytes,
    plain,
    whole_gpus,
)
from segduet.scale.unit import WorkUnit

#: Slurm's default MaxArraySize is 1001, which is one more than the largest index it takes.
LARGEST_ARRAY = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmOptions:
    """Where the jobs go.

    Attributes:
        partition: None takes the cluster's default.
        account: None takes the user's default.
    """

    partition: str | None = None
    account: str | None = None


def render_slurm(submission: Submission, options: SlurmOptions) -> dict[str, str]:
    """`submit.sh`, and an `sbatch` file for each array.

    Raises:
        RequestError: an option that Slurm could misread, or a unit that asks for part of a GPU.
    """
    files, levels = {}, []
    for depth, level in enumerate(dependency_levels(submission.units)):
        names = []
        for part, units in enumerate(_arrays(level)):
            names.append(f"level-{depth}-{part}.sbatch")
            files[names[-1]] = _array(
                submission, options, units, f"{submission.name}-{depth}-{part}"
            )
        levels.append(names)
    return {"submit.sh": render_script("submit.sh.j2", levels=levels), **files}


def _arrays(level: list[WorkUnit]) -> Iterator[list[WorkUnit]]:
    for _, units in alike(level):
        for start in range(0, len(units), LARGEST_ARRAY):
            yield units[start : start + LARGEST_ARRAY]


def _array(submission: Submission, options: SlurmOptions, units: list[WorkUnit], job: str) -> str:
    resources = units[0].resources
    return render_script(
        "array.sbatch.j2",
        job=job,
        units=[unit.name for unit in units],
        cpus=math.ceil(resources.cpus),
        memory_mb=megabytes(resources),
        gpus=whole_gpus(units[0], "Slurm"),
        minutes=math.ceil(resources.hours * 60),
        partition=plain(options.partition, "--partition") if options.partition else None,
        account=plain(options.account, "--account") if options.account else None,
        retries=submission.retries,
        program=submission.program,
        study=submission.study,
    )
