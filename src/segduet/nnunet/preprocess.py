"""Raw dataset -> prepared store, in parallel and resumable."""

import filecmp
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError
from segduet.core.files import atomic_path, sha256
from segduet.core.folders import DatasetFolders
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.core.prepared import PreparedCase
from segduet.core.volume import Volume
from segduet.io.images import read_image, read_label_map
from segduet.nnunet.case_pool import work_on_cases
from segduet.nnunet.raw_cases import RawCase, raw_cases
from segduet.nnunet.store import PreparedStore

#: Raise it when preparation or the file format gives other numbers for the same input.
_PREPARATION_VERSION = 1

#: Entries of a configuration that prepared arrays depend on. (Chunks follow the patch size, but
#: arrays in other chunks are as good; so 3d_fullres and its cascade share their cases.)
_PREPARATION_SETTINGS = {
    "spacing",
    "normalization_schemes",
    "use_mask_for_norm",
    "resampling_fn_data",
    "resampling_fn_data_kwargs",
    "resampling_fn_seg",
    "resampling_fn_seg_kwargs",
}


class PrepareCase(Protocol):
    """How a case is prepared; `segduet.preparation.prepare.prepare_case`."""

    def __call__(
        self,
        volume: Volume,
        label_map: np.ndarray | None,
        *,
        case: str,
        plan: Plan,
        configuration: ConfigurationPlan,
    ) -> PreparedCase:
        """Prepares one case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What every case of a run has in common."""

    plan: Plan
    configuration: ConfigurationPlan
    labels: LabelScheme
    store: PreparedStore
    prepare: PrepareCase


def preprocess_dataset(
    folders: DatasetFolders,
    plan: Plan,
    configuration_name: str,
    *,
    prepare: PrepareCase,
    workers: int = 1,
    cases: Sequence[str] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> PreparedStore:
    """Prepares every case of a raw dataset; cases that are whole and unchanged are kept.

    A case counts as unchanged if its files' contents, the plan's settings and the labels are. Masks
    are copied to `gt_segmentations`, where stock nnU-Net looks for them.

    Args:
        folders: the dataset; also read on a machine that has no nnunetv2.
        plan: the plan.
        configuration_name: such as `3d_fullres`.
        prepare: prepares one case; must be importable by name, since workers are fresh processes.
        workers: processes; 1 works in this one.
        cases: which cases; None takes all.
        on_progress: called with each case id when it is done.

    Raises:
        RequestError: no such configuration.
        DataError: an unknown case, one without a mask that is not in imagesUnlabelled, or one
            that cannot be prepared; the message names it. Cases that were finished before stay.
        SegduetError: a worker died; the message names the cases it may have been working on.
    """
    description = DatasetDescription.read(folders.raw / "dataset.json")
    configuration = plan.configuration(configuration_name)
    chosen = _chosen(raw_cases(folders, description), cases, where=folders.name)
    store = PreparedStore.of(folders, configuration)
    store.remove_leftovers()
    work = _Work(
        plan=plan,
        configuration=configuration,
        labels=description.label_scheme,
        store=store,
        prepare=prepare,
    )
    for case, _ in work_on_cases(partial(_prepare_one, work), chosen, workers=workers):
        _copy_reference(chosen[case], case, folders, description.file_ending)
        if on_progress is not None:
            on_progress(case)
    return store


def _chosen(
    available: dict[str, RawCase], wanted: Sequence[str] | None, *, where: str
) -> dict[str, RawCase]:
    unknown = sorted(set(wanted or ()) - set(available))
    if unknown:
        raise DataError(
            where,
            found=f"no image for case {unknown[0]!r}",
            expected="an image for every case asked for",
            remedy="Check the case table against imagesTr with `segduet check`.",
        )
    chosen = available if wanted is None else {case: available[case] for case in wanted}
    for case, files in chosen.items():
        if files.mask is None and not files.is_unlabelled:
            raise DataError(
                f"case {case!r}",
                found=f"an image without a mask ({files.images[0]})",
                expected="a mask in labelsTr",
                remedy="Add it; or move the image to imagesUnlabelled, to learn its class alone.",
            )
    return chosen


def _prepare_one(work: _Work, case: str, files: RawCase) -> None:
    settings = _settings_hash(work, files)
    if work.store.is_complete(case, settings):
        return
    label_map = None if files.mask is None else _label_map(files.mask, work.labels, case)
    prepared = work.prepare(
        read_image(files.images),
        label_map,
        case=case,
        plan=work.plan,
        configuration=work.configuration,
    )
    work.store.write(prepared, work.labels, settings_hash=settings)


def _label_map(mask: Path, labels: LabelScheme, case: str) -> np.ndarray:
    values: np.ndarray = read_label_map(mask).array[0]
    unknown = sorted(set(np.unique(values).tolist()) - set(labels.values))
    if unknown:
        raise DataError(
            f"case {case!r}, {mask}",
            found=f"label values {unknown[:5]}",
            expected=f"values among {list(labels.values)}, as dataset.json declares",
            remedy="Correct the mask, or declare the labels and plan again.",
        )
    return values.astype(np.int16)


def preparation_hash(plan: Plan, configuration: ConfigurationPlan, labels: LabelScheme) -> str:
    """Identifies everything but the files that prepared arrays depend on."""
    return _hash(
        {
            "version": _PREPARATION_VERSION,
            "configuration": configuration.model_dump(mode="json", include=_PREPARATION_SETTINGS),
            "transpose": plan.transpose_forward,
            "intensities": plan.foreground_intensity_properties_per_channel,
            "labels": labels.labels,
        }
    )


def _settings_hash(work: _Work, files: RawCase) -> str:
    """The preparation's hash, then the hash of the case's files."""
    contents = {
        "images": [sha256(path) for path in files.images],
        "mask": None if files.mask is None else sha256(files.mask),
    }
    settings = preparation_hash(work.plan, work.configuration, work.labels)
    return f"{settings}:{_hash(contents)}"


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _copy_reference(files: RawCase, case: str, folders: DatasetFolders, ending: str) -> None:
    if files.mask is None:
        return
    target = folders.preprocessed / "gt_segmentations" / f"{case}{ending}"
    if target.is_file() and filecmp.cmp(files.mask, target, shallow=False):
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(files.mask, temporary)
