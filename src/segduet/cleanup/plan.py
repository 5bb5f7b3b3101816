"""cleanup.json: the steps to take, for which labels, and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from segduet.cleanup.apply import Cleaned, clean
from segduet.cleanup.evidence import Evidence
from segduet.cleanup.steps import KeepInside, Step
from segduet.core.description import validated
from segduet.core.errors import DataError, RequestError
from segduet.core.files import read_json, write_json
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme


class CleanupPlan(BaseModel):
    """Steps in the order they are taken; none where none helped.

    Attributes:
        labels: what the values of the label maps mean, as in the dataset.json.
        regions_class_order: of the dataset.json, None for plain labels.
        steps: the steps.
        evidence: how they were learned; None for a plan written by hand.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["segduet-cleanup-1"] = "segduet-cleanup-1"
    labels: dict[str, int | tuple[int, ...]]
    regions_class_order: tuple[int, ...] | None = None
    steps: tuple[Step, ...] = ()
    evidence: Evidence | None = None

    @classmethod
    def of(
        cls, scheme: LabelScheme, steps: Sequence[Step], evidence: Evidence | None = None
    ) -> Self:
        """A plan for label maps of this scheme."""
        labels = {n: m if scheme.has_regions else m[0] for n, m in scheme.labels}
        order = scheme.regions_class_order or None
        return cls(labels=labels, regions_class_order=order, steps=tuple(steps), evidence=evidence)

    @classmethod
    def read(cls, source: Path) -> Self:
        """Reads and checks a plan.

        Raises:
            DataError: missing, not JSON, an unknown step or setting, or a step that names a label
                or region the plan does not have.
        """
        plan = validated(cls, read_json(source), where=str(source))
        scheme = plan.scheme(str(source))
        for number, step in enumerate(plan.steps):
            _check(step, scheme, where=f"{source}, steps.{number}")
        return plan

    def write(self, target: Path) -> None:
        """Writes the plan atomically."""
        write_json(target, self.model_dump(mode="json"))

    def scheme(self, where: str) -> LabelScheme:
        """The labels.

        Raises:
            DataError: labels that are no scheme.
        """
        labels = {n: m if isinstance(m, int) else list(m) for n, m in self.labels.items()}
        order = list(self.regions_class_order) if self.regions_class_order else None
        return LabelScheme.from_dataset_json(labels, order, where=where)

    def require_scheme(self, other: LabelScheme, *, where: str, whose: str) -> None:
        """Checks that label maps mean what the plan was made for.

        Args:
            other: the label maps' scheme.
            where: the plan's file, for the message.
            whose: whose label maps they are, for the message.

        Raises:
            RequestError: they do not.
        """
        if self.scheme(where) != other:
            raise RequestError(
                where,
                found=f"a plan for the labels {self.labels}",
                expected=f"one for {dict(other.labels)}, the labels of {whose}",
                remedy="Use the plan that was learned for this dataset.",
            )

    def clean(self, label_map: np.ndarray, geometry: Geometry, *, where: str) -> Cleaned:
        """Takes the steps.

        Args:
            label_map: (Z, Y, X), any dtype.
            geometry: its grid.
            where: file or case, for messages.

        Returns:
            The label map as uint8, and what each step did.

        Raises:
            DataError: values that the plan's labels do not have.
            RequestError: sizes in ml for a 2D image, or in mm2 for a 3D image.
        """
        scheme = self.scheme("cleanup plan")
        allowed = sorted(set(scheme.values) - {scheme.ignore_value})
        is_unknown = np.isin(label_map, allowed, invert=True)
        if is_unknown.any():
            raise DataError(
                where,
                found=f"the value {label_map[is_unknown][0]:g}",
                expected=f"values among {allowed}, which the cleanup plan knows",
                remedy="Use the plan that was learned for these labels.",
            )
        return clean(label_map.astype(np.uint8), geometry, scheme, self.steps)


def _check(step: Step, scheme: LabelScheme, *, where: str) -> None:
    unknown = [name for name in step.named if name not in scheme.foreground]
    if unknown:
        raise DataError(
            where,
            found=f"{step.kind} of {unknown[0]!r}",
            expected=f"one of {list(scheme.foreground)}",
            remedy="Correct the name, or use the plan of this dataset.",
        )
    if isinstance(step, KeepInside):
        lesion, organ = (set(scheme.foreground[n]) for n in (step.region, step.organ))
        if organ <= lesion:
            raise DataError(
                where,
                found=f"{step.region!r} kept inside {step.organ!r}, which is part of it",
                expected="an organ with voxels of its own, such as the region around the lesion",
                remedy="Exchange region and organ.",
            )
