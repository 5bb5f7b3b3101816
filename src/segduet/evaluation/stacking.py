"""Joins the answers of several models by a model that learnt how far to trust each (B07).

P parts, N rows, K classes.

Source: Wolpert (1992), Stacked generalization, Neural Networks 5(2), 241-259,
doi:10.1016/S0893-6080(05)80023-1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segduet.evaluation.case_models import (
    CaseModel,
    FeatureTable,
    LogisticSettings,
    fit_case_model,
    out_of_fold,
)
from segduet.metrics.confusion import confusion_matrix, macro_f1

FUSED = "fused"
#: A forest says 0 where no tree voted; its logarithm is taken from here on.
_FLOOR = 1e-3
#: There are few inputs (P x K) beside the patients, so less shrinkage than for features.
_META = LogisticSettings(inverse_strength=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfFoldFigures:
    """How good the answers to held-out rows are; these decide, they are not the result.

    Attributes:
        log_loss: mean negative logarithm of the true class's probability; lower is better.
        macro_f1: in [0, 1].
    """

    log_loss: float
    macro_f1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The decision and, where there are several parts, the model that joins them.

    Attributes:
        parts: names of the parts, in the order the meta-model reads them.
        figures: part, or `fused`, -> figures on the training rows, out of fold.
        chosen: `fused`, or the best part where fusion did not help.
        meta: reads the parts' log-probabilities; None for a single part.
    """

    parts: tuple[str, ...]
    figures: Mapping[str, OutOfFoldFigures]
    chosen: str
    meta: CaseModel | None

    @property
    def verdict(self) -> str:
        """One sentence on what was chosen and why."""
        if self.meta is None:
            return f"only one part, {self.chosen}"
        best = min(self.parts, key=lambda p: self.figures[p].log_loss)
        losses = f"{self.figures[FUSED].log_loss:.3f} against {self.figures[best].log_loss:.3f}"
        did = "helped" if self.chosen == FUSED else "did not help"
        return f"fusion {did}: out-of-fold log-loss {losses} of {best}; chosen: {self.chosen}"

    def answers(self, parts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The parts' answers with `fused` beside them, where there are several: (N, K) each."""
        if self.meta is None:
            return dict(parts)
        return {**parts, FUSED: self.meta.probabilities(_meta_table(self.parts, parts))}


def fit_stack(
    parts: Mapping[str, np.ndarray],
    classes: np.ndarray,
    folds: Sequence[np.ndarray],
    *,
    num_classes: int,
) -> Stack:
    """Fits the meta-model on out-of-fold answers and decides whether it is used.

    It is used only if its own out-of-fold answers have a lower log-loss than the best part and no
    lower macro-F1; else the part of the lowest log-loss is.

    Args:
        parts: part -> (N, K) answers by models that did not see the row (never in-sample ones:
            those look certain and would be trusted most).
        classes: (N,) integer class indices.
        folds: row indices of each fold, the parts' own.
        num_classes: K.
    """
    assert parts, "nothing to stack"
    names = tuple(sorted(parts))
    figures = {name: _figures(parts[name], classes) for name in names}
    best = min(names, key=lambda p: figures[p].log_loss)
    if len(names) == 1:
        return Stack(parts=names, figures=figures, chosen=best, meta=None)
    table = _meta_table(names, parts)
    held_out = out_of_fold(_META, table, classes, folds, num_classes=num_classes, seed=0)
    fused = _figures(held_out, classes)
    has_helped = (
        fused.log_loss < figures[best].log_loss and fused.macro_f1 >= figures[best].macro_f1
    )
    return Stack(
        parts=names,
        figures={**figures, FUSED: fused},
        chosen=FUSED if has_helped else best,
        meta=fit_case_model(_META, table, classes, num_classes=num_classes, seed=0),
    )


def _meta_table(names: Sequence[str], parts: Mapping[str, np.ndarray]) -> FeatureTable:
    columns = [np.log(np.clip(parts[name], _FLOOR, 1.0)) for name in names]
    values = np.concatenate(columns, axis=1)
    return FeatureTable(
        rows=tuple(str(i) for i in range(len(values))),
        names=tuple(
            f"{n}:{k}" for n, c in zip(names, columns, strict=True) for k in range(c.shape[1])
        ),
        values=values,
    )


def _figures(answers: np.ndarray, classes: np.ndarray) -> OutOfFoldFigures:
    num_classes = answers.shape[1]
    of_truth = np.clip(answers[np.arange(len(classes)), classes], _FLOOR, 1.0)
    matrix = confusion_matrix(classes, answers.argmax(1), num_classes=num_classes)
    return OutOfFoldFigures(
        log_loss=float(-np.log(of_truth).mean()), macro_f1=float(macro_f1(matrix))
    )
