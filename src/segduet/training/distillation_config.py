"""What can be chosen about learning from a teacher."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator


class NoDistillation(BaseModel):
    """The labels are all there is to learn from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["off"] = "off"


class TeacherDistillation(BaseModel):
    """A trained model answers every training window, and the student learns its answers too (F70).

    Attributes:
        teacher: a model folder, ours or stock nnU-Net's, whose finished folds are averaged, or one
            of its fold folders.
        teacher_sha256: SHA-256 of the weights of every fold, in the order of the folds; filled in
            when the training starts, so that a resumed one learns from the same teacher. Empty
            takes any.
        mirrored: the teacher's answer is the mean over its mirrorings, as in prediction; 2^k
            passes per network for k mirrored axes.
        temperature: softens both answers; 1 compares them as they are. Hinton et al. found 2.5 to 4
            best for small students (arXiv 1503.02531, section 3).
        segmentation_weight: factor of the masks' part of the segmentation loss.
        task_weight: factor of the answers' part of every task's loss.
        feature_weight: factor of the part of every task's loss that compares which windows the
            heads see as alike (Tung and Mori 2019, arXiv 1907.09682).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["teacher"] = "teacher"
    teacher: Path
    teacher_sha256: tuple[str, ...] = ()
    mirrored: bool = True
    temperature: PositiveFloat = 2.5
    segmentation_weight: float = Field(default=1.0, ge=0)
    task_weight: float = Field(default=1.0, ge=0)
    feature_weight: float = Field(default=0.0, ge=0)

    @property
    def asks_tasks(self) -> bool:
        """Whether anything of the teacher's heads is learnt."""
        return self.task_weight > 0 or self.feature_weight > 0

    @model_validator(mode="after")
    def _has_no_idle_option(self) -> Self:
        if not (self.segmentation_weight or self.asks_tasks):
            raise ValueError("all weights are 0, so the teacher is not heard; use kind off")
        return self


DistillationConfig = Annotated[NoDistillation | TeacherDistillation, Field(discriminator="kind")]
