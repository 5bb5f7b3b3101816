"""`ablation.json`: arms that differ in one switch, each compared with the baseline (F87)."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat

from segduet.core.description import validated
from segduet.core.files import read_json, write_json
from segduet.evaluation.comparison_file import Comparison

SCHEMA_VERSION: Literal[1] = 1


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ArmEntry(_Strict):
    """One arm.

    Attributes:
        name: as in the study; the first is the baseline.
        changes: what it changes; nothing in the baseline.
        status: `failed` where a unit of it failed or could not be run.
        reason: which unit, and why; empty where it is done.
        folders: the scores it is judged by, one folder per seed and, of validations, fold.
    """

    name: str
    changes: dict[str, Any]
    status: Literal["done", "failed"]
    reason: str = ""
    folders: tuple[str, ...] = ()


class SeedFigures(_Strict):
    """One figure of one arm, seed by seed: how far trainings that differ by chance alone move it.

    Attributes:
        part, subject, metric: as in the rows of the comparison.
        arm: its name.
        values: seed -> value; None where it is undefined.
    """

    part: Literal["segmentation", "classification"]
    subject: str
    metric: str
    arm: str
    values: dict[int, FiniteFloat | None]


class AblationTable(_Strict):
    """The arms of one recipe in one configuration.

    Attributes:
        recipe: its name in the study.
        configuration: such as `3d_fullres`.
        arms: all of them, failed ones as well.
        comparison: the arms that are done against the baseline, over all seeds; None where there
            are no two of them.
        reason: why there is no comparison.
        by_seed: figures by arm and seed.
    """

    recipe: str
    configuration: str
    arms: tuple[ArmEntry, ...]
    comparison: Comparison | None
    reason: str = ""
    by_seed: tuple[SeedFigures, ...] = ()


class Ablation(_Strict):
    """The content of `ablation.json`.

    Attributes:
        schema_version: of this file.
        study: its name.
        seeds: trainings of every arm and fold.
        folds: as in the study.
        judged_by: `validation`: the folds' own validation cases; `evaluation`: the study's
            predictions.
        tables: one per recipe and configuration.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    study: str
    seeds: tuple[int, ...]
    folds: tuple[int | Literal["all"], ...]
    judged_by: Literal["validation", "evaluation"]
    tables: tuple[AblationTable, ...]

    def write(self, target: Path) -> None:
        """Writes the file atomically."""
        write_json(target, self.model_dump(mode="json"))


def read_ablation(source: Path) -> Ablation:
    """Reads what `Ablation.write` wrote.

    Raises:
        DataError: missing, not JSON, or not an ablation of this schema.
    """
    return validated(Ablation, read_json(source), where=str(source))
