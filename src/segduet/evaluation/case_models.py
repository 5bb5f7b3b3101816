"""Classical models on a table of features, fitted and answered out of fold (B07).

N rows (patients or cases), F features, K classes.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.errors import DataError
from segduet.core.scores import Score
from segduet.core.tasks import TaskSpec
from segduet.dataset.folds import stratified_grouped_folds


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTable:
    """Named numbers of patients or cases.

    Attributes:
        rows: (N,) ids, each once.
        names: (F,) feature names, units included.
        values: (N, F) float64; NaN where a feature is undefined.

    Raises:
        DataError: an infinite value.
    """

    rows: tuple[str, ...]
    names: tuple[str, ...]
    values: np.ndarray

    def __post_init__(self) -> None:
        assert self.values.shape == (len(self.rows), len(self.names)), self.values.shape
        assert len(set(self.rows)) == len(self.rows), "a row occurs twice"
        if np.isinf(self.values).any():
            row, column = np.argwhere(np.isinf(self.values))[0]
            raise DataError(
                f"feature {self.names[column]!r} of {self.rows[row]!r}",
                found="an infinite number",
                expected="a finite one, or NaN where it is undefined",
                remedy="Correct the features.",
            )

    @classmethod
    def of(cls, measures: Mapping[str, Mapping[str, Score]]) -> Self:
        """Stacks measurements with equal names; undefined ones become NaN.

        Raises:
            DataError: two rows have different names (2D images beside 3D ones).
        """
        names = tuple(next(iter(measures.values()), {}))
        for row, scores in measures.items():
            if tuple(scores) != names:
                differing = sorted(set(scores) ^ set(names))
                raise DataError(
                    f"{row!r}",
                    found=f"measurements that others do not have, or lacks theirs: {differing[:3]}",
                    expected="the same measurements for all",
                    remedy="Do not mix images of different dimensions or channels.",
                )
        numbers = [
            [np.nan if s.value is None else s.value for s in m.values()] for m in measures.values()
        ]
        values = np.asarray(numbers, dtype=np.float64).reshape(len(measures), len(names))
        return cls(rows=tuple(measures), names=names, values=values)

    def of_rows(self, rows: Sequence[str]) -> Self:
        """The table of these rows, in this order."""
        place = {row: i for i, row in enumerate(self.rows)}
        chosen = self.values[[place[row] for row in rows]]
        return type(self)(rows=tuple(rows), names=self.names, values=chosen)

    def to_csv(self, *, index: str) -> str:
        """The table as text; floats in full precision, NaN as an empty cell.

        Args:
            index: heading of the column of row ids.
        """
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([index, *self.names])
        for row, numbers in zip(self.rows, self.values.tolist(), strict=True):
            writer.writerow([row, *("" if np.isnan(n) else repr(n) for n in numbers)])
        return stream.getvalue()


class ForestSettings(BaseModel):
    """A random forest: needs no scaling, finds thresholds and their combinations.

    Attributes:
        num_trees: trees.
        min_leaf: patients in a leaf at least; 2 softens the probabilities of small cohorts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["forest"] = "forest"
    num_trees: int = Field(default=300, gt=0)
    min_leaf: int = Field(default=2, gt=0)


class LogisticSettings(BaseModel):
    """Multinomial logistic regression on standardised features.

    Attributes:
        inverse_strength: scikit-learn's C; 0.1 shrinks strongly, for more features than patients.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["logistic"] = "logistic"
    inverse_strength: float = Field(default=0.1, gt=0)


ModelSettings = Annotated[ForestSettings | LogisticSettings, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseModel:
    """A fitted model.

    Attributes:
        names: features it reads; those undefined in every training row were dropped.
        num_classes: K, classes absent from training included.
        pipeline: scikit-learn's; imputes undefined values by the training median.
    """

    names: tuple[str, ...]
    num_classes: int
    pipeline: Any

    def probabilities(self, table: FeatureTable) -> np.ndarray:
        """Class probabilities: (N, K) float64, rows sum to 1; a class absent in training gets 0.

        Raises:
            DataError: the table lacks a feature the model was fitted on.
        """
        missing = [name for name in self.names if name not in table.names]
        if missing:
            raise DataError(
                "the features",
                found=f"no {missing[0]!r} ({len(missing)} of {len(self.names)} missing)",
                expected="every feature the model was fitted on",
                remedy="Measure with the settings of the fitted model.",
            )
        columns = [table.names.index(name) for name in self.names]
        answers = np.zeros((len(table.rows), self.num_classes))
        if len(table.rows):
            chances = self.pipeline.predict_proba(table.values[:, columns])
            answers[:, self.pipeline.classes_] = chances
        return answers


def fit_case_model(
    settings: ForestSettings | LogisticSettings,
    table: FeatureTable,
    classes: np.ndarray,
    *,
    num_classes: int,
    seed: int,
) -> CaseModel:
    """Fits a model; equal arguments give equal answers.

    Args:
        settings: which model.
        table: features of the training rows.
        classes: (N,) integer class indices in [0, K).
        num_classes: K.
        seed: of the forest; logistic regression (lbfgs) has no randomness.

    Raises:
        DataError: fewer than two classes, or no feature that is defined in any row.
    """
    assert len(classes) == len(table.rows)
    is_usable = ~np.isnan(table.values).all(axis=0)
    if len(np.unique(classes)) < 2 or not is_usable.any():
        raise DataError(
            "training of a case model",
            found=f"{len(table.rows)} rows of {len(np.unique(classes))} classes with "
            f"{np.count_nonzero(is_usable)} defined features",
            expected="at least two classes and one feature",
            remedy="Add cases, or check that the masks are not empty.",
        )
    pipeline = make_pipeline(SimpleImputer(strategy="median"), *_steps(settings, seed))
    pipeline.fit(table.values[:, is_usable], np.asarray(classes, dtype=np.int64))
    names = tuple(n for n, usable in zip(table.names, is_usable, strict=True) if usable)
    return CaseModel(names=names, num_classes=num_classes, pipeline=pipeline)


def _steps(settings: ForestSettings | LogisticSettings, seed: int) -> list[Any]:
    if isinstance(settings, LogisticSettings):
        model = LogisticRegression(C=settings.inverse_strength, max_iter=5000)
        return [StandardScaler(), model]
    return [
        RandomForestClassifier(
            settings.num_trees, min_samples_leaf=settings.min_leaf, random_state=seed
        )
    ]


def group_folds(
    groups: Sequence[str],
    classes: np.ndarray,
    *,
    class_names: Sequence[str],
    num_folds: int,
    seed: int,
) -> list[np.ndarray]:
    """Row indices of each fold: no group is split, classes are spread evenly.

    Args:
        groups: (N,) patient of each row.
        classes: (N,) integer class indices.
        class_names: (K,); classes that do not occur are no obstacle.
        num_folds: at least 2.
        seed: of the dealing.

    Raises:
        DataError: a class has fewer groups than there are folds.
    """
    names = tuple(class_names[k] for k in np.unique(classes))
    if len(names) < 2:
        raise DataError(
            "folds",
            found=f"{len(groups)} rows of {len(names)} class",
            expected="at least two classes",
            remedy="Add cases of another class.",
        )
    task = TaskSpec(name="class", classes=names)
    width = len(str(len(groups)))
    table = CaseTable(
        records=tuple(
            CaseRecord(case=f"{i:0{width}d}", patient=group, labels={"class": class_names[k]})
            for i, (group, k) in enumerate(zip(groups, classes, strict=True))
        ),
        where="patients",
    )
    folds = stratified_grouped_folds(table, task, cases=table.cases, num_folds=num_folds, seed=seed)
    return [np.array([int(case) for case in fold.val]) for fold in folds]


def out_of_fold(
    settings: ForestSettings | LogisticSettings,
    table: FeatureTable,
    classes: np.ndarray,
    folds: Sequence[np.ndarray],
    *,
    num_classes: int,
    seed: int,
) -> np.ndarray:
    """Answers for every row by a model that saw neither the row nor its group: (N, K) float64.

    Args:
        settings: which model.
        table: features.
        classes: (N,) integer class indices.
        folds: row indices of each fold, as `group_folds` deals them; every row once.
        num_classes: K.
        seed: of the models.
    """
    answers = np.full((len(table.rows), num_classes), np.nan)
    for held_out in folds:
        kept = np.setdiff1d(np.arange(len(table.rows)), held_out)
        model = fit_case_model(
            settings,
            table.of_rows([table.rows[i] for i in kept]),
            classes[kept],
            num_classes=num_classes,
            seed=seed,
        )
        answers[held_out] = model.probabilities(table.of_rows([table.rows[i] for i in held_out]))
    assert not np.isnan(answers).any(), "a row is in no fold"
    return answers
