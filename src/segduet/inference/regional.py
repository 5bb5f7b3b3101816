"""Prediction of a case in the part of its image that matters, with checks and a way back (F72).

Boxes are half-open (start, stop) per transposed axis, in voxels of the image.
"""

import dataclasses
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from segduet.core.plan import ConfigurationPlan, Plan
from segduet.core.prediction import Prediction, RegionSource, SeenRegion
from segduet.core.prepared import Box
from segduet.core.volume import Volume
from segduet.inference.coarse import CoarseLook
from segduet.inference.region import (
    Face,
    RegionRule,
    foreground_box,
    grown_at,
    native_patch,
    native_region,
    num_windows,
    touched_faces,
)
from segduet.preparation.body import body_box
from segduet.preparation.boxes import Shape, absolute_box, at_least
from segduet.preparation.cropping import box_slices, nonzero_box

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionSearch:
    """How the region is found, for a model.

    Attributes:
        plan: of the model.
        configuration: of the model, with a 3D network.
        step: distance between its windows as a share of the patch.
        crops_body: look for the body first; the image's channels are a CT's.
        look: a coarse network's look at a part of an image, `(volume, case, part)`; None without.
        rule: how a region follows from that look.
    """

    plan: Plan
    configuration: ConfigurationPlan
    step: float
    crops_body: bool
    look: Callable[[Volume, str, Box], CoarseLook] | None
    rule: RegionRule = field(default_factory=RegionRule)


def predict_in_region(
    search: RegionSearch, volume: Volume, case: str, predict: Callable[[Box], Prediction]
) -> Prediction:
    """Predicts a case in the region that is found; outside is background.

    A region that is empty or does not save a window is not taken. Where the answer's foreground
    touches a face of the region behind which the image goes on, the region is moved outwards there
    by half a patch, once; where it touches again, or where nothing is found although the coarse
    look found something, the whole image is predicted. Whatever was not taken or given up stands in
    the notes of `Prediction.seen`.

    Args:
        search: how to find it.
        volume: the image.
        case: case id.
        predict: answers the case from a region of its image.

    Raises:
        DataError: as `predict` and the coarse look do.
        RequestError: as `predict` and the coarse look do.
    """
    return _RegionalCase(search, volume, case, predict).prediction()


class _RegionalCase:
    def __init__(
        self,
        search: RegionSearch,
        volume: Volume,
        case: str,
        predict: Callable[[Box], Prediction],
    ) -> None:
        self._search, self._volume, self._case, self._predict = search, volume, case, predict
        self._axes = search.plan.transpose_forward
        self._image = volume.array.transpose(0, *(axis + 1 for axis in self._axes))
        first, second, third = (volume.geometry.spacing_zyx_mm[axis] for axis in self._axes)
        self._spacing = (first, second, third)
        self._limits = nonzero_box(self._image)
        self._notes: list[str] = []
        self._seconds: dict[str, float] = {}

    def prediction(self) -> Prediction:
        started = time.perf_counter()
        region, source = self._found()
        self._seconds["region"] = time.perf_counter() - started
        prediction = self._predicted(region)
        if source is RegionSource.COARSE and not _has_foreground(prediction):
            self._give_up("no foreground where the coarse network found some: whole image")
            region, source = self._limits, RegionSource.WHOLE
            prediction = self._predicted(region)
        elif faces := self._touched(prediction, region):
            region, source = self._further_out(region, faces, source)
            prediction = self._predicted(region)
        if self._touched(prediction, region):
            self._give_up("foreground touches the edge of the grown region: whole image")
            region, source = self._limits, RegionSource.WHOLE
            prediction = self._predicted(region)
        z, y, x = (region[axis] for axis in self._search.plan.transpose_backward)
        seen = SeenRegion(box=(z, y, x), found_by=source, notes=tuple(self._notes))
        return dataclasses.replace(prediction, seconds=dict(self._seconds), seen=seen)

    def _found(self) -> tuple[Box, RegionSource]:
        body = self._body() if self._search.crops_body else None
        within = self._limits if body is None else body
        if (region := self._coarse(within)) is not None:
            return region, RegionSource.COARSE
        if body is not None:
            return body, RegionSource.BODY
        return self._limits, RegionSource.WHOLE

    def _body(self) -> Box | None:
        found = body_box(self._image[:, *box_slices(self._limits)], self._spacing)
        if found is None:
            self._give_up("no body found in the CT: not cropped to it")
            return None
        # a window filled up with zeros is not what the network was trained on
        body = at_least(absolute_box(found, self._limits), self._native_patch(), self._limits)
        if not self._saves(body, self._limits):
            self._leave_out("a crop to the body saves no window: not cropped to it")
            return None
        return body

    def _coarse(self, within: Box) -> Box | None:
        if self._search.look is None:
            return None
        if self._num_windows(within) == 1:
            self._leave_out("one window holds everything: no coarse look")
            return None
        look = self._search.look(self._volume, self._case, within)
        found = foreground_box(look.label_map, self._search.rule)
        if found is None:
            self._give_up("the coarse network found no foreground: region not narrowed")
            return None
        rule, patch = self._search.rule, self._native_patch()
        region = native_region(found, look.placement, rule, patch=patch, limits=self._limits)
        region = at_least(region, patch, self._limits)
        if not self._saves(region, within):
            self._leave_out("what the coarse network found saves no window: not narrowed")
            return None
        return region

    def _further_out(
        self, region: Box, faces: list[Face], source: RegionSource
    ) -> tuple[Box, RegionSource]:
        z, y, x = (max(1, length // 2) for length in self._native_patch())
        grown = grown_at(region, faces, (z, y, x), self._limits)
        if self._saves(grown, self._limits):
            self._give_up("foreground touches the edge of the region: predicted again, grown")
            return grown, source
        self._give_up("foreground touches the edge of the region: whole image")
        return self._limits, RegionSource.WHOLE

    def _predicted(self, region: Box) -> Prediction:
        prediction = self._predict(region)
        for stage, seconds in prediction.seconds.items():
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
        return prediction

    def _touched(self, prediction: Prediction, region: Box) -> list[Face]:
        if prediction.label_map is None:
            return []
        label_map = prediction.label_map.transpose(self._axes)
        return touched_faces(label_map, region, self._limits)

    def _native_patch(self) -> Shape:
        return native_patch(self._search.configuration, self._spacing)

    def _saves(self, region: Box, whole: Box) -> bool:
        return self._num_windows(region) < self._num_windows(whole)

    def _num_windows(self, region: Box) -> int:
        search = self._search
        return num_windows(region, search.configuration, self._spacing, search.step)

    def _give_up(self, note: str) -> None:
        """Notes a check that failed."""
        log.warning("case %s: %s", self._case, note)
        self._notes.append(note)

    def _leave_out(self, note: str) -> None:
        """Notes a shortcut that would gain nothing."""
        log.info("case %s: %s", self._case, note)
        self._notes.append(note)


def _has_foreground(prediction: Prediction) -> bool:
    return prediction.label_map is not None and bool(prediction.label_map.any())
