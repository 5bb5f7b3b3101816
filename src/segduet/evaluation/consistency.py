"""Whether a class answer and a mask can both be true, by what training cases have shown (B16)."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec

#: Patients of a class, all their cases without an exception, from which a rule is made. By the rule
#: of three (95 %) up to 3 / 10 of all may still be exceptions; the number stands beside the rule.
MIN_PATIENTS = 10


class ClassRule(BaseModel):
    """What the cases of one class have in common.

    Attributes:
        answer: class name.
        region: `always` or `never` in the reference masks of its cases.
        num_patients: whose cases showed it, without exception.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer: str
    region: Literal["always", "never"]
    num_patients: int = Field(ge=1)


class ConsistencyRules(BaseModel):
    """Which classes go with a region and which do not.

    Attributes:
        region: foreground label or region; None is any foreground.
        classes: classes that have a rule, at least one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str | None
    classes: tuple[ClassRule, ...] = Field(min_length=1)

    def judges(self, label: str) -> bool:
        """Whether a class has a rule."""
        return any(rule.answer == label for rule in self.classes)

    def contradiction(self, label: str, *, has_region: bool) -> str:
        """What is contradictory about a class answer and a mask, in few words; else empty.

        Args:
            label: the class that was answered; one without a rule contradicts nothing.
            has_region: whether the mask has a voxel of the region.
        """
        rule = next((r for r in self.classes if r.answer == label), None)
        if rule is None or has_region == (rule.region == "always"):
            return ""
        name = self.region or "any foreground"
        return f"{label} {'with' if has_region else 'without'} {name}"


def has_region(label_map: np.ndarray, labels: LabelScheme, region: str | None) -> bool:
    """Whether a label map has a voxel of a region.

    Args:
        label_map: (Z, Y, X) integers.
        labels: what they mean.
        region: foreground label or region; None is any foreground.
    """
    regions = list(labels.foreground) if region is None else [region]
    return any(bool(labels.mask(label_map, name).any()) for name in regions)


def learn_rules(
    task: TaskSpec, seen: Mapping[str, Sequence[tuple[str, bool]]]
) -> ConsistencyRules | None:
    """Rules of the classes whose cases all have the task's region, or none of which has it.

    Args:
        task: the question; its evidence region is looked for.
        seen: class -> for each training case of it, its patient and whether its reference mask has
            the region.

    Returns:
        None where no class has a rule.
    """
    rules = []
    for name in task.classes:
        patients = {patient for patient, _ in seen.get(name, ())}
        found = {has for _, has in seen.get(name, ())}
        if len(patients) >= MIN_PATIENTS and len(found) == 1:
            region: Literal["always", "never"] = "always" if found.pop() else "never"
            rules.append(ClassRule(answer=name, region=region, num_patients=len(patients)))
    return ConsistencyRules(region=task.evidence_region, classes=tuple(rules)) if rules else None
