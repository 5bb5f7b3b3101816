"""Several models answer together: their probabilities meet on the user's grid (F77).

The folds of one model share a prepared grid and are averaged there as logits; models of other
configurations or plans have grids of their own. All models work through the case in step, and only
slices that every one of them has finished are brought to the user's grid and averaged, so that the
probabilities of the whole image never exist at once. K segmentation heads.
"""

import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from segduet.core.errors import RequestError
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan
from segduet.core.prediction import Prediction
from segduet.core.prepared import PreparedCase
from segduet.core.tasks import TaskSpec
from segduet.inference.answering import CaseAnswers
from segduet.inference.prepared_answer import mean_answers, mean_slabs
from segduet.inference.window_pass import WindowPass
from segduet.preparation.cropping import box_slices
from segduet.preparation.resampling import Grids, ResamplingRule
from segduet.preparation.restore import restore_map
from segduet.preparation.slabs import SlabResampler

#: Probabilities of cases below this count as this much in a geometric mean: one model that is
#: certain does not overrule all others.
_FLOOR = 1e-6


class EnsembleRule(StrEnum):
    """How the probabilities of several models become one.

    ARITHMETIC: their mean, as in nnU-Net.
    GEOMETRIC: the mean of their logarithms, scaled to sum to 1 again.
    """

    ARITHMETIC = "arithmetic"
    GEOMETRIC = "geometric"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOnCase:
    """One model of an ensemble and a case as it sees it.

    Attributes:
        prepared: the case, on the model's own grid.
        configuration: the model's.
        passes: of its networks, not begun yet.
    """

    prepared: PreparedCase
    configuration: ConfigurationPlan
    passes: Sequence[WindowPass]

    def native_slabs(self) -> Iterator[np.ndarray]:
        """Mean logits of its networks, on the user's grid within the crop.

        Yields:
            (K, n, Y, X) float32, the next n slices along the first transposed axis; nothing from
            networks that only classify.
        """
        grids = Grids.of_preparation(self.prepared.placement, self.configuration).reverse
        rule = ResamplingRule.of(self.configuration, "probabilities", where="plan")
        resampler = SlabResampler(grids, rule)
        for slab in mean_slabs([networks.slabs() for networks in self.passes]):
            if len(slab):
                for _, channels in resampler.add(slab):
                    yield np.stack(list(channels))

    def answers(self) -> CaseAnswers:
        """Mean of what its networks answer about the case, once all slabs have been taken."""
        return mean_answers([networks.answers() for networks in self.passes])


def predict_together(
    models: Sequence[ModelOnCase],
    *,
    labels: LabelScheme,
    tasks: Sequence[TaskSpec],
    rule: EnsembleRule,
) -> Prediction:
    """Label map and class probabilities of one case by several models; every model counts the same.

    Evidence and attention are means, whatever the rule, and features are joined end to end.

    Args:
        models: at least one, all with these labels and tasks.
        labels: what their segmentation channels mean.
        tasks: what they answer; the scale of regressions does not matter.
        rule: how to average probabilities.

    Raises:
        RequestError: plans that turn the image's axes differently, or not enough memory.
        DataError: a network's answers are not finite, or not to exactly these tasks.
    """
    started = time.perf_counter()
    _require_same_axes(models)
    placement = models[0].prepared.placement
    assert all(m.prepared.placement.crop_box == placement.crop_box for m in models)
    label_map = _joint_label_map(models, labels, rule)
    said = [model.answers() for model in models]
    joint = mean_answers([dataclasses.replace(answers, attention={}) for answers in said])
    return Prediction(
        case=models[0].prepared.case,
        label_map=label_map,
        geometry=placement.native,
        probabilities={
            task.name: mean_answer(task, [a.probabilities[task.name] for a in said], rule)
            for task in tasks
        },
        evidence=joint.evidence,
        features=joint.features,
        attention=_joint_attention(models, said),
        seconds={"network": time.perf_counter() - started},
    )


def mean_answer(task: TaskSpec, answers: Sequence[np.ndarray], rule: EnsembleRule) -> np.ndarray:
    """One answer of several models, (answer_size,) float64.

    A geometric mean of exclusive classes is scaled to sum to 1; that of a finding is scaled with
    that of its absence. Values of a regression have an arithmetic mean by both rules.

    Args:
        task: the question.
        answers: (answer_size,) of each model, as from `answer_probabilities`.
        rule: how to average.
    """
    stacked = np.stack(answers).astype(np.float64)
    if rule is EnsembleRule.ARITHMETIC or task.kind == "regression":
        return np.asarray(stacked.mean(axis=0))
    present = _geometric(stacked)
    if task.has_exclusive_classes:
        return np.asarray(present / present.sum())
    return np.asarray(present / (present + _geometric(1 - stacked)))


def joint_scores(
    logits: Sequence[np.ndarray], rule: EnsembleRule, *, has_regions: bool
) -> np.ndarray:
    """Numbers (K, ...) that decide the mean of several models' probabilities as logits would.

    The largest wins for plain labels; a region is where they are above 0.

    Args:
        logits: (K, ...) float32 of each model.
        rule: how to average.
        has_regions: sigmoids of nested regions, or the softmax of plain labels.
    """
    if rule is EnsembleRule.GEOMETRIC:
        # that of a probability and of its rest, scaled to sum to 1, is the mean logit's sigmoid
        read = (lambda values: values) if has_regions else _log_softmax
    elif has_regions:
        read = _sigmoid_above_half
    else:
        read = _softmax
    total = sum((read(values) for values in logits[1:]), start=read(logits[0]))
    return np.asarray(total / np.float32(len(logits)))


def _joint_label_map(
    models: Sequence[ModelOnCase], labels: LabelScheme, rule: EnsembleRule
) -> np.ndarray | None:
    placement = models[0].prepared.placement
    whole = np.zeros(placement.transposed_shape, np.uint8)
    inside = whole[box_slices(placement.crop_box)]
    done = 0
    for logits in in_step([model.native_slabs() for model in models]):
        scores = joint_scores(logits, rule, has_regions=labels.has_regions)
        stop = done + scores.shape[1]
        inside[done:stop] = labels.decode(scores)
        done = stop
    if done == 0:
        return None
    assert done == len(inside), (done, inside.shape)
    return np.ascontiguousarray(whole.transpose(placement.transpose_backward))


def in_step(members: Sequence[Iterable[np.ndarray]]) -> Iterator[list[np.ndarray]]:
    """Slabs that end at different slices, cut so that all members give the same slices.

    Args:
        members: of each the slabs (K, n, ...), in all of the same number of slices.

    Yields:
        One slab per member, of as many slices as the member that is least far has ready.
    """
    sources = [iter(slabs) for slabs in members]
    held = [next(source, None) for source in sources]
    while all(slab is not None for slab in held):
        ready = [slab for slab in held if slab is not None]
        n = min(slab.shape[1] for slab in ready)
        yield [slab[:, :n] for slab in ready]
        held = [
            slab[:, n:] if slab.shape[1] > n else next(source, None)
            for slab, source in zip(ready, sources, strict=True)
        ]
    assert all(slab is None for slab in held), "members differ in their number of slices"


def _joint_attention(
    models: Sequence[ModelOnCase], said: Sequence[CaseAnswers]
) -> Mapping[str, np.ndarray]:
    """Task name -> (Z, Y, X) on the user's grid; of heads that attend, which all models have."""
    share = np.float32(1 / len(models))
    total: dict[str, np.ndarray] = {}
    for model, answers in zip(models, said, strict=True):
        for task, seen in answers.attention.items():
            restored = share * restore_map(
                seen, placement=model.prepared.placement, configuration=model.configuration
            )
            total[task] = total[task] + restored if task in total else restored
    return total


def _require_same_axes(models: Sequence[ModelOnCase]) -> None:
    orders = sorted({model.prepared.placement.transpose_forward for model in models})
    if len(orders) > 1:
        raise RequestError(
            "ensemble",
            found=f"plans that turn the image's axes differently, {orders}",
            expected="models whose plans have the same transpose_forward",
            remedy="Ensemble models that were planned on the same dataset.",
        )


def _geometric(probabilities: np.ndarray) -> np.ndarray:
    """Geometric mean over the first axis; not scaled."""
    return np.asarray(np.exp(np.log(probabilities.clip(_FLOOR)).mean(axis=0)))


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=0))
    return np.asarray(exponentials / exponentials.sum(axis=0))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=0)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=0)))


def _sigmoid_above_half(logits: np.ndarray) -> np.ndarray:
    # sigmoid(x) - 1/2, which neither overflows nor loses small differences around 0
    return np.asarray(np.tanh(logits / 2) / 2)
