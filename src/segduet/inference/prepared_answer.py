"""Both answers of a case before they are brought to its own grid. K segmentation heads."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan
from segduet.core.prediction import Prediction
from segduet.core.prepared import PreparedCase
from segduet.preparation.restore import restore_label_map, restore_map


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedAnswer:
    """Both answers on the prepared grid.

    Attributes:
        logits: (K, Z, Y, X) float32, blended over windows; K = 0 for a network that only
            classifies.
        probabilities: task name -> (answer_size,) float64, as from `answer_probabilities`.
        evidence: task name -> predicted voxels of its evidence region, summed over windows.
        features: task name -> (F,) float32, the pooled and normalised vector its head read.
        attention: task name -> (Z, Y, X) float32 >= 0 that sums to 1, where its head looked; only
            on request, and of heads that attend.
    """

    logits: np.ndarray
    probabilities: Mapping[str, np.ndarray] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    attention: Mapping[str, np.ndarray] = field(default_factory=dict)

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
        placement = prepared.placement
        label_map = None
        if len(self.logits):
            label_map = restore_label_map(
                self.logits, placement=placement, configuration=configuration, labels=labels
            )
        return Prediction(
            case=prepared.case,
            label_map=label_map,
            geometry=placement.native,
            probabilities=self.probabilities,
            evidence=self.evidence,
            features=self.features,
            attention={
                task: restore_map(seen, placement=placement, configuration=configuration)
                for task, seen in self.attention.items()
            },
        )


def ensemble(answers: Iterable[PreparedAnswer]) -> PreparedAnswer:
    """Mean of logits (as nnU-Net), probabilities, evidence and attention of several networks.

    Features are joined end to end, as those of one network mean nothing to another. Holds two sets
    of logits at most, and changes the first's.

    Args:
        answers: at least one, all of the same tasks.
    """
    remaining = iter(answers)
    total = next(remaining)
    n = 1
    for answer in remaining:
        total = _added(total, answer)
        n += 1
    return PreparedAnswer(
        logits=np.divide(total.logits, n, out=total.logits),
        probabilities={task: v / n for task, v in total.probabilities.items()},
        evidence={task: v / n for task, v in total.evidence.items()},
        features=total.features,
        attention={task: v / np.float32(n) for task, v in total.attention.items()},
    )


def _added(a: PreparedAnswer, b: PreparedAnswer) -> PreparedAnswer:
    return PreparedAnswer(
        logits=np.add(a.logits, b.logits, out=a.logits),
        probabilities={task: v + b.probabilities[task] for task, v in a.probabilities.items()},
        evidence={task: v + b.evidence[task] for task, v in a.evidence.items()},
        features={t: np.concatenate([v, b.features[t]]) for t, v in a.features.items()},
        attention={task: v + b.attention[task] for task, v in a.attention.items()},
    )
