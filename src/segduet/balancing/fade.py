"""A polynomial fade: the tasks help at first and leave the end to segmentation."""

from dataclasses import dataclass

from segduet.balancing.protocol import SEGMENTATION, Balancer


@dataclass(frozen=True, kw_only=True)
class FadeBalancer(Balancer):
    """Segmentation weighs lambda(t) = 1 - a (1 - t/T)^p, every task 1 - lambda(t) (F36).

    Attributes:
        segmentation_weight: further factor of the segmentation loss.
        task_weights: term name -> further factor of the task's loss.
        start_share: a, the share the tasks have in epoch 0.
        length: T, epochs until they have faded out; lambda stays 1 from then on.
        exponent: p.

    Source: the fourth seed's schedule (a = 0.5, p = 4), after Conjeti et al. 2017,
    arXiv 1703.05724.
    """

    kind = "fade"
    segmentation_weight: float
    task_weights: dict[str, float]
    start_share: float
    length: int
    exponent: float

    def weights(self, epoch: int) -> dict[str, float]:
        """The factors of an epoch."""
        left = max(0.0, 1 - epoch / self.length)
        task_share = self.start_share * left**self.exponent
        tasks = {term: task_share * weight for term, weight in self.task_weights.items()}
        return {SEGMENTATION: (1 - task_share) * self.segmentation_weight, **tasks}
