"""Both answers of a case before they are brought to its own grid. K segmentation heads."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan
from segduet.core.prediction import Prediction
from segduet.core.prepared import PreparedCase
from segduet.inference.answering import CaseAnswers
from segduet.preparation.restore import restore_label_map, restore_map


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedAnswer:
    """Both answers on the prepared grid.

    Attributes:
        logits: (K, Z, Y, X) float32, blended over windows; K = 0 for a network that only
            classifies.
        said: what the heads answer about the case.
    """

    logits: np.ndarray
    said: CaseAnswers

    def on_native_grid(
        self,
        prepared: PreparedCase,
        *,
        configuration: ConfigurationPlan,
        labels: LabelScheme,
    ) -> Prediction:
        """The answers for the user's image; no label map where the network only classifies.

        Raises:
            DataError: the plan asks for a resampling we do not implement.
        """
        label_map = None
        if len(self.logits):
            label_map = restore_label_map(
                self.logits,
                placement=prepared.placement,
                configuration=configuration,
                labels=labels,
            )
        return native_prediction(self.said, label_map, prepared, configuration)


def native_prediction(
    said: CaseAnswers,
    label_map: np.ndarray | None,
    prepared: PreparedCase,
    configuration: ConfigurationPlan,
) -> Prediction:
    """Both answers for the user's image.

    Args:
        said: what the heads answer.
        label_map: (Z, Y, X) uint8 on the native grid; None where nothing segments.
        prepared: the case.
        configuration: gives the resampling of attention maps.
    """
    placement = prepared.placement
    return Prediction(
        case=prepared.case,
        label_map=label_map,
        geometry=placement.native,
        probabilities=said.probabilities,
        evidence=said.evidence,
        features=said.features,
        attention={
            task: restore_map(seen, placement=placement, configuration=configuration)
            for task, seen in said.attention.items()
        },
    )


def mean_slabs(members: Sequence[Iterable[np.ndarray]]) -> Iterator[np.ndarray]:
    """Mean logits (as nnU-Net) of several networks that hand out the same slices in step.

    Args:
        members: at least one; of each the slabs (K, n, Y, X), which are changed.

    Yields:
        (K, n, Y, X) float32, until the next one is asked for.
    """
    for slabs in zip(*members, strict=True):
        total = slabs[0]
        for other in slabs[1:]:
            np.add(total, other, out=total)
        if len(slabs) > 1:
            np.divide(total, len(slabs), out=total)
        yield total


def mean_answers(members: Sequence[CaseAnswers]) -> CaseAnswers:
    """Mean of probabilities, evidence and attention of several networks, of the same tasks.

    Features are joined end to end, as those of one network mean nothing to another.
    """
    total = functools.reduce(_added, members)
    n = len(members)
    return CaseAnswers(
        probabilities={task: v / n for task, v in total.probabilities.items()},
        evidence={task: v / n for task, v in total.evidence.items()},
        features=total.features,
        attention={task: v / np.float32(n) for task, v in total.attention.items()},
    )


def _added(a: CaseAnswers, b: CaseAnswers) -> CaseAnswers:
    return CaseAnswers(
        probabilities={task: v + b.probabilities[task] for task, v in a.probabilities.items()},
        evidence={task: v + b.evidence[task] for task, v in a.evidence.items()},
        features={t: np.concatenate([v, b.features[t]]) for t, v in a.features.items()},
        attention={task: v + b.attention[task] for task, v in a.attention.items()},
    )
