"""What a report shows of the cases: each one's files are read once, and only drawings are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from segduet.core.scores import CaseScores
from segduet.evaluation.evaluate import References
from segduet.io.images import read_image, read_label_map, read_stored_image
from segduet.reporting.case_images import CaseImages
from segduet.reporting.case_order import CaseChoice, worst_first
from segduet.reporting.case_pictures import CasePictures, case_strip
from segduet.reporting.overlays import choose_overlay_cases, overlay_png
from segduet.reporting.viewer_data import TooManyVoxelsError, viewer_case
from segduet.workflows.reference_dataset import ReferenceDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSources:
    """Where the images of the cases lie.

    Attributes:
        images: case -> files of its channels.
        references: masks and the meaning of their values.
        predictions: folder of the masks; where heads looked lies in `attention` within it.
        tasks: names of the tasks whose heads may have looked somewhere.
    """

    images: Mapping[str, Sequence[Path]]
    references: References
    predictions: Path
    tasks: Sequence[str] = ()

    @classmethod
    def of(cls, dataset: ReferenceDataset, predictions: Path) -> "PictureSources":
        """Those of a dataset and of one folder of predictions."""
        return cls(
            images=dataset.image_files(),
            references=dataset.references(),
            predictions=predictions,
            tasks=[task.name for task in dataset.description.tasks],
        )

    def missing(self, case: str) -> str:
        """Which file of a case is not there any more, as a sentence; empty where all are."""
        if case not in self.images:
            return "no picture, the dataset has no image of it"
        if self.references.mask(case) is None:
            return "no picture, the dataset has no mask of it"
        if not self.prediction_file(case).is_file():
            return "no picture, its file is gone from the predictions"
        return ""

    def prediction_file(self, case: str) -> Path:
        """Where the predicted mask of a case lies."""
        return self.predictions / f"{case}{self.references.file_ending}"

    def read(self, case: str) -> CaseImages | None:
        """The arrays of a case that has all files; None if image and masks differ in shape."""
        mask = self.references.mask(case)
        assert mask is not None, case
        image = read_stored_image(self.images[case])
        reference = read_label_map(mask).array[0]
        prediction = read_label_map(self.prediction_file(case)).array[0]
        if not image.array.shape[1:] == reference.shape == prediction.shape:
            return None
        return CaseImages(
            case=case,
            image=image.array,
            reference=reference,
            prediction=prediction,
            geometry=image.geometry,
            attention=self._attention(case, reference.shape),
        )

    def _attention(self, case: str, shape_zyx: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Task -> where its head looked, for tasks that left a map on the image's grid."""
        maps = {}
        for task in self.tasks:
            # as `head_files.write_attention` names them
            name = f"{case}_attention_{quote(task, safe='')}.nii.gz"
            source = self.predictions / "attention" / name
            if source.is_file():
                maps[task] = read_image([source]).array[0]
        return {task: weights for task, weights in maps.items() if weights.shape == shape_zyx}


def case_pictures(
    sources: PictureSources,
    cases: Sequence[CaseScores],
    *,
    pictures: CaseChoice,
    viewer: CaseChoice,
) -> list[CasePictures]:
    """Row of the table, large picture and volumes of the chosen cases, worst case first.

    Args:
        cases: scored cases; only those with scored masks are drawn.
        pictures: cases with a row of pictures; the worst, the median and the best one get a large
            picture as well.
        viewer: cases with volumes.

    Raises:
        DataError: a file is damaged.
    """
    labels = sources.references.labels
    with_masks = [case for case in cases if case.segmentation]
    ranked = [case.case for case in worst_first(with_masks, labels)]
    drawn, loaded = pictures.of(ranked), viewer.of(ranked)
    captions = dict(choose_overlay_cases(with_masks, labels)) if drawn else {}
    return [
        _pictures(sources, case, captions.get(case, ""), case in drawn, case in loaded)
        for case in ranked
        if case in drawn | loaded | captions.keys()
    ]


def _pictures(
    sources: PictureSources, case: str, caption: str, has_strip: bool, has_volumes: bool
) -> CasePictures:
    missing = sources.missing(case)
    shown = None if missing else sources.read(case)
    if shown is None:
        reason = missing or "no picture, image and masks are on different grids"
        return CasePictures(case=case, left_out=reason)
    regions = sources.references.labels.foreground
    volumes, left_out = None, ""
    if has_volumes:
        try:
            volumes = viewer_case(shown)
        except TooManyVoxelsError as error:
            left_out = f"not in the viewer, {error}"
    return CasePictures(
        case=case,
        strip=case_strip(shown, regions) if has_strip else None,
        close_up=overlay_png(shown, regions) if caption else "",
        caption=caption,
        volumes=volumes,
        left_out=left_out,
    )
