"""How much of an 8-bit network stays in float, chosen on the cases that calibrate it (F68).

Whatever is chosen is judged once, by the gate, on cases that had no part in the choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from segduet.core.labels import LabelScheme
from segduet.evaluation.gate_report import FloatParts
from segduet.io.images import read_image
from segduet.metrics.overlap import dsc
from segduet.workflows.calibration_cases import CalibrationCases
from segduet.workflows.loading import LoadedModel

#: Convolutions in float at both ends, what is tried one after the other; more cost time.
LEAST_FLOAT_FIRST = (1, 2, 3)


@dataclass(slots=True, kw_only=True)
class Rehearsal:
    """The original's masks of the calibration cases, for others to be compared with.

    Attributes:
        cases: whose calibration cases are answered.
        original: the model that is to be replaced.
    """

    cases: CalibrationCases
    original: LoadedModel
    _masks: list[np.ndarray] = field(default_factory=list, init=False)

    def try_out(self, candidate: LoadedModel, ends_in_float: int) -> FloatParts:
        """Lets a candidate answer the calibration cases.

        Raises:
            DataError: a case cannot be read or answered.
        """
        labels = self.original.model.labels
        if not self.original.model.segments:
            return FloatParts(ends_in_float=ends_in_float, dice={})
        if not self._masks:
            self._masks = self._label_maps(self.original)
        pairs = list(zip(self._masks, self._label_maps(candidate), strict=True))
        dice = {name: _mean_dice(pairs, labels, name) for name in labels.foreground}
        return FloatParts(ends_in_float=ends_in_float, dice=dice)

    def _label_maps(self, loaded: LoadedModel) -> list[np.ndarray]:
        answers = (
            loaded.predict(read_image(self.cases.images[case]), case).label_map
            for case in self.cases.choice.calibration
        )
        return [mask for mask in answers if mask is not None]


def wanted_agreement(min_dice: float) -> float:
    """Dice that ends the search: half of what the gate allows to differ.

    New cases are stranger to a network than those it was trained on, and agree less.
    """
    return 1 - (1 - min_dice) / 2


def chosen_parts(tried: Sequence[FloatParts], wanted: float) -> FloatParts:
    """The first that agrees well enough, else the one that agrees best."""
    good = [parts for parts in tried if parts.lowest_dice >= wanted]
    return good[0] if good else max(tried, key=lambda parts: parts.lowest_dice)


def _mean_dice(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], labels: LabelScheme, name: str
) -> float | None:
    found = [dsc(labels.mask(a, name), labels.mask(b, name)).value for a, b in pairs]
    values = [value for value in found if value is not None]
    return float(np.mean(values)) if values else None
