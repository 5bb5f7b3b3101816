"""How the tasks pull at the shared encoder, and an alarm when one hurts the other (B08)."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segduet.balancing.protocol import SEGMENTATION, known_terms, task_term
from segduet.core.answers import answer_probabilities, decided_class
from segduet.core.tasks import TaskSpec
from segduet.training.collapse import ClassCounts
from segduet.training.interference_config import InterferenceConfig
from segduet.training.processes import ONE_PROCESS, Processes

log = logging.getLogger(__name__)


class InterferenceMonitor:
    """Measures one epoch; a new one is made for the next.

    Args:
        config: how often and when to raise an alarm.
        tasks: the case-level tasks.
        processes: whose gradients and windows are taken together.
    """

    def __init__(
        self,
        config: InterferenceConfig,
        tasks: Sequence[TaskSpec],
        processes: Processes = ONE_PROCESS,
    ) -> None:
        self._config = config
        self._processes = processes
        self._tasks = [task for task in tasks if task.has_exclusive_classes]
        self._steps = 0
        self._found: dict[str, list[tuple[float, float]]] = {}
        self._classes = ClassCounts()

    def observe_gradients(
        self,
        losses: Mapping[str, Tensor],
        encoder: Sequence[nn.Parameter],
        weights: Mapping[str, float],
        *,
        scale: Tensor,
    ) -> None:
        """Compares gradients at the encoder where the step is due; the losses keep their graph.

        Tasks that are unknown in the batch or do not reach the encoder are passed over, and so are
        a step whose gradients overflow and an encoder that is not trained.

        Args:
            losses: scalar per term.
            encoder: parameters shared by all terms.
            weights: the balancer's factor of every term.
            scale: the fp16 scaler's factor, else 1.
        """
        every, step = self._config.every_steps, self._steps
        self._steps += 1
        if every == 0 or step % every or not encoder:
            return
        names = known_terms(losses)
        if len(names) < 2:  # nothing to compare, so no backward pass for it
            return
        shares = [_gradient(weights[name] * losses[name] * scale, encoder) for name in names]
        gradients = dict(zip(names, self._processes.added_up(shares), strict=True))
        protected = gradients.pop(SEGMENTATION, None)
        if protected is None:
            return
        for name, gradient in gradients.items():
            compared = compare_gradients(protected, gradient)
            if compared is not None:
                self._found.setdefault(name, []).append(compared)

    def observe_answers(self, logits: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """Counts the classes of a batch's windows, of tasks whose classes exclude each other.

        Args:
            logits: task -> (B, num_outputs).
            targets: task -> (B, T), NaN where unknown.
        """
        for task in self._tasks:
            outputs = logits[task.name].detach().float().cpu().numpy()
            predicted = decided_class(task, answer_probabilities(task, outputs))
            self._classes.add(task.name, predicted, targets[task.name][:, 0].cpu().numpy())

    def finish(self, record: dict[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
        """Adds the epoch's figures and alarms to its record; new alarms are logged as warnings.

        Adds `interference` (task -> mean `cosine` and `norm_ratio`, where measured), `collapse`
        (task -> see `ClassCounts.record`) and `alarms` (a list of texts, if there are any).

        Args:
            record: of the epoch just finished.
            history: records of the epochs before.
        """
        tasks = {name.removeprefix(task_term("")): pairs for name, pairs in self._found.items()}
        record["interference"] = {
            task: {
                "cosine": math.fsum(c for c, _ in pairs) / len(pairs),
                "norm_ratio": math.fsum(r for _, r in pairs) / len(pairs),
            }
            for task, pairs in tasks.items()
        }
        counts = ClassCounts.together(self._processes.gathered(self._classes))
        record["collapse"] = counts.record()
        now = alarms([*history, record], self._config)
        before = alarms(history, self._config)
        for alarm in [a for a in now if a not in before]:
            log.warning("epoch %d: %s", record["epoch"], alarm)
        if now:
            record["alarms"] = now


def compare_gradients(segmentation: Tensor, task: Tensor) -> tuple[float, float] | None:
    """Cosine of the two, and the norm of the task's over that of segmentation's.

    None where either is 0 or not finite.

    Args:
        segmentation: (N,) gradient.
        task: (N,) gradient.
    """
    norms = torch.linalg.vector_norm(segmentation), torch.linalg.vector_norm(task)
    first, second = (float(norm) for norm in norms)
    if not (0 < first < math.inf and 0 < second < math.inf):
        return None
    cosine = torch.dot(segmentation / norms[0], task / norms[1])
    return float(cosine), second / first


def alarms(history: Sequence[Mapping[str, Any]], config: InterferenceConfig) -> list[str]:
    """What is wrong after the last of these epochs and has been for `config.epochs` in a row.

    Args:
        history: records as `InterferenceMonitor.finish` leaves them, oldest first.
        config: the limits.
    """
    recent = history[-config.epochs :]
    if len(recent) < config.epochs:
        return []
    conflicts = [_conflicting(record, config) for record in recent]
    collapses = [_collapsed(record, config) for record in recent]
    return [
        *(
            f"the gradients of task {task!r} oppose segmentation's in the encoder; consider "
            "balancing.kind guarded or a lower weight"
            for task in sorted(set.intersection(*conflicts))
        ),
        *(
            f"the answers to task {task!r} have collapsed to one class; consider a higher weight, "
            "another head, or class weights"
            for task in sorted(set.intersection(*collapses))
        ),
    ]


def _conflicting(record: Mapping[str, Any], config: InterferenceConfig) -> set[str]:
    found = record["interference"].items()
    return {task for task, figures in found if figures["cosine"] < config.cosine_below}


def _collapsed(record: Mapping[str, Any], config: InterferenceConfig) -> set[str]:
    limit = config.collapse_share
    found = record["collapse"].items()
    return {task for task, f in found if f["share"] > limit >= f["label_share"]}


def _gradient(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    pieces = [
        (torch.zeros_like(parameter) if gradient is None else gradient).flatten()
        for gradient, parameter in zip(gradients, parameters, strict=True)
    ]
    return torch.cat(pieces)
