"""F10: 2D nerve frames, by patient folder or in the Kaggle layout.

Patient folders: `patient_0XX/<class>/...`, at any depth, hold MATLAB frames (image variables, mask
in `ROI`, in one file or two) or pictures `<id>` and `<id>_mask`. An id ends in case and sample
number, `_<case>_<sample>`; leading zeros do not count when image and mask are paired.
Kaggle: one folder of `<subject>_<image>.tif` and `<subject>_<image>_mask.tif`; whether a nerve is
present is read off the mask. The patient is the folder or the subject, never a feature.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from segduet.core.cases import CaseRecord
from segduet.core.errors import DataError
from segduet.core.tasks import TaskSpec
from segduet.dataset.convert import is_mat
from segduet.dataset.importers.channels import names_of_channels
from segduet.dataset.importers.labels import foreground_values, label_entries, values_of_masks
from segduet.dataset.importers.options import ImportOptions, RegionMode
from segduet.dataset.listing import visible_files, visible_folders
from segduet.dataset.source import SourceCase, SourceDataset
from segduet.io.matlab import IMAGE_VARIABLES, MASK_VARIABLE, mat_variables
from segduet.io.names import name_without_ending

_TASK = "nerve"
_LABEL = "nerve"
_PRESENCE = ("absent", "present")
_MASK_SUFFIX = "_mask"
_NUMBERS = re.compile(r"(?:.*_)?(\d+)_(\d+)")


@dataclass(slots=True)
class _Frame:
    """Files of one frame as they are found."""

    image: Path | None = None
    mask: Path | None = None


def read_nerve(root: Path, options: ImportOptions) -> SourceDataset:
    """Finds the frames of either layout; folders named `patient...` tell which it is.

    Args:
        root: folder of the patient folders, or Kaggle's `train` folder.
        options: `channel_names`; `classes` for patient folders (default: folder names, sorted).

    Raises:
        RequestError: an option was given that has no effect here.
        DataError: no frames, a file that fits neither layout, two files for one image or mask, a
            class folder that is not among the classes, or masks with more than one foreground.
    """
    patients = [f for f in visible_folders(root) if f.name.lower().startswith("patient")]
    if patients:
        options.require_only("nerve", "channel_names", "classes")
        task, cases = _by_patient_folder(patients, options)
        values = values_of_masks(_masks(cases), workers=options.workers)
    else:
        options.require_only("nerve", "channel_names")
        frames = _kaggle_frames(root)
        values = values_of_masks(_masks(frames), workers=options.workers)
        task, cases = _with_presence(frames, values)
    return _dataset(root, task, cases, values, options)


def _dataset(
    root: Path,
    task: TaskSpec,
    cases: list[SourceCase],
    values: list[list[int]],
    options: ImportOptions,
) -> SourceDataset:
    example = next((case.images for case in cases if case.images), None)
    if example is None:
        raise DataError(
            str(root),
            found="no frames",
            expected="patient_0XX/<class>/ folders, or <subject>_<image>.tif files",
            remedy="Point to the folder that holds them.",
        )
    foreground = foreground_values(values)
    if len(foreground) != 1:
        raise DataError(
            str(root),
            found=f"mask values {foreground} beside 0",
            expected="one foreground value, the nerve",
            remedy="Merge the labels, or import with the layout `table`.",
        )
    labels, _ = label_entries((_LABEL,), RegionMode.PLAIN)
    return SourceDataset(
        where=str(root),
        cases=tuple(cases),
        tasks=(task,),
        channel_names=names_of_channels(example, options),
        labels=labels,
        value_map={0: 0, foreground[0]: 1},
    )


def _masks(cases: Iterable[SourceCase]) -> list[Path]:
    return [case.mask for case in cases if case.mask]


# --- patient folders -----------------------------------------------------------------------------


def _by_patient_folder(
    patients: list[Path], options: ImportOptions
) -> tuple[TaskSpec, list[SourceCase]]:
    folders = [(p, c) for p in patients for c in visible_folders(p)]
    classes = options.classes or tuple(sorted({c.name for _, c in folders}))
    if len(classes) < 2:
        raise DataError(
            str(patients[0].parent),
            found=f"the class folders {list(classes)}",
            expected="two classes or more, as patient_0XX/<class>/",
            remedy="Sort the frames of every patient into class folders.",
        )
    task = TaskSpec(name=_TASK, classes=classes, evidence_region=_LABEL)
    return task, [case for p, c in folders for case in _frames_of(p, c, task)]


def _frames_of(patient: Path, class_folder: Path, task: TaskSpec) -> Iterator[SourceCase]:
    task.index(class_folder.name, where=str(class_folder))
    frames: dict[str, _Frame] = {}
    for path in _files_below(class_folder):
        frame = frames.setdefault(_frame_id(path), _Frame())
        if _holds_image(path):
            frame.image = _only(frame.image, path)
        if _holds_mask(path):
            frame.mask = _only(frame.mask, path)
    for frame_id, frame in sorted(frames.items()):
        record = CaseRecord(
            case=f"{patient.name}_{class_folder.name}_{frame_id}",
            patient=patient.name,
            labels={task.name: class_folder.name},
        )
        images = (frame.image,) if frame.image else ()
        yield SourceCase(record=record, images=images, mask=frame.mask)


def _files_below(folder: Path) -> Iterator[Path]:
    yield from visible_files(folder)
    for inner in visible_folders(folder):
        yield from _files_below(inner)


def _frame_id(path: Path) -> str:
    """Case and sample number without leading zeros, or the whole name where it has none."""
    name = path.stem if is_mat(path) else name_without_ending(path)
    name = name.removesuffix(_MASK_SUFFIX)
    numbers = _NUMBERS.fullmatch(name)
    return f"{int(numbers[1])}_{int(numbers[2])}" if numbers else name


def _holds_mask(path: Path) -> bool:
    if is_mat(path):
        return MASK_VARIABLE in mat_variables(path)
    return name_without_ending(path).endswith(_MASK_SUFFIX)


def _holds_image(path: Path) -> bool:
    if not is_mat(path):
        return not name_without_ending(path).endswith(_MASK_SUFFIX)
    variables = mat_variables(path)
    if not variables & {*IMAGE_VARIABLES, MASK_VARIABLE}:
        raise DataError(
            str(path),
            found=f"the variables {sorted(variables)}",
            expected=f"{MASK_VARIABLE} or one of {', '.join(IMAGE_VARIABLES)}",
            remedy="Save the frame under one of these names, or remove the file.",
        )
    return bool(variables & set(IMAGE_VARIABLES))


def _only(known: Path | None, path: Path) -> Path:
    if known is not None:
        raise DataError(
            str(path),
            found=f"a second file for the frame of {known}",
            expected="one image and one mask per case and sample number",
            remedy="Remove or renumber one of them.",
        )
    return path


# --- Kaggle --------------------------------------------------------------------------------------


def _kaggle_frames(root: Path) -> list[SourceCase]:
    frames: dict[str, _Frame] = {}
    subjects: dict[str, str] = {}
    for path in visible_files(root):
        name = name_without_ending(path).removesuffix(_MASK_SUFFIX)
        numbers = re.fullmatch(r"(\d+)_(\d+)", name)
        if numbers is None:
            raise DataError(
                str(path),
                found="a name without subject and image number",
                expected="<subject>_<image> or <subject>_<image>_mask",
                remedy="Remove the file, or import with the layout `table`.",
            )
        frame = frames.setdefault(name, _Frame())
        subjects[name] = f"subject_{int(numbers[1])}"
        if _holds_mask(path):
            frame.mask = _only(frame.mask, path)
        else:
            frame.image = _only(frame.image, path)
    return [
        SourceCase(
            record=CaseRecord(case=name, patient=subjects[name]),
            images=(frame.image,) if frame.image else (),
            mask=frame.mask,
        )
        for name, frame in sorted(frames.items())
    ]


def _with_presence(
    frames: list[SourceCase], values_per_mask: list[list[int]]
) -> tuple[TaskSpec, list[SourceCase]]:
    """Adds the answer to "is there a nerve?", which the mask gives; unknown without a mask."""
    task = TaskSpec(name=_TASK, classes=_PRESENCE, evidence_region=_LABEL)
    values_of = dict(zip(_masks(frames), values_per_mask, strict=True))
    answers = [
        {} if f.mask is None else {task.name: _PRESENCE[int(any(values_of[f.mask]))]}
        for f in frames
    ]
    return task, [
        replace(frame, record=replace(frame.record, labels=labels))
        for frame, labels in zip(frames, answers, strict=True)
    ]
