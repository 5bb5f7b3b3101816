"""`segduet import`: a user's folder into an nnU-Net raw dataset with a case table."""

import time
from dataclasses import dataclass
from pathlib import Path

from segduet.core.errors import RequestError
from segduet.core.folders import DataRoot
from segduet.core.manifest import RunManifest, utc
from segduet.dataset.importers.options import ImportOptions, RegionMode
from segduet.dataset.importers.registry import IMPORTERS
from segduet.dataset.importers.task_columns import parse_task_column
from segduet.dataset.raw_writer import write_raw


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What to import, from where, under which name.

    Attributes:
        layout: key of `IMPORTERS`.
        name: short name (a free number is given), or `DatasetNNN_Name`.
        label_values: values of the foreground labels in the masks, as text.
        region_mode: value of `RegionMode`; None takes the layout's own.
        class_column: column of the class, and name of the task.
        tasks: instead, one text per column with a question of any kind, such as
            `grade:ordinal:low,mid,high` (see `parse_task_column`).
        allow_missing_masks: take cases without a mask, to teach their class alone (B03).
    """

    layout: str
    source: Path
    name: str
    channel_names: tuple[str, ...] = ()
    class_column: str = "class"
    classes: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    label_values: tuple[str, ...] = ()
    labels_table: Path | None = None
    region_mode: str | None = None
    allow_missing_masks: bool = False
    workers: int = 1


def import_dataset(root: DataRoot, request: ImportRequest) -> RunManifest:
    """Reads the folder, checks every pair, and writes the dataset whole or not at all.

    Raises:
        RequestError: an option the layout does not use, a name that is taken, no such folder.
        DataError: anything wrong with the data, by case.
        StorageError: the dataset could not be written; nothing is left of it.
    """
    started = time.time()
    if not request.source.is_dir():
        raise RequestError(
            str(request.source),
            found="no such folder",
            expected=f"a folder in the layout {request.layout!r}",
            remedy="Check the path.",
        )
    source = IMPORTERS[request.layout](request.source, _options(request))
    folders = root.new_dataset(root.name_new_dataset(request.name))
    summary = write_raw(source, folders, request.workers)
    manifest = RunManifest(
        command="import",
        arguments={"layout": request.layout, "source": str(request.source), "name": request.name},
        outcome={"folder": str(folders.raw), **summary.to_json()},
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(folders.raw)
    return manifest


def _options(request: ImportRequest) -> ImportOptions:
    return ImportOptions(
        channel_names=request.channel_names,
        class_column=request.class_column,
        classes=request.classes,
        tasks=tuple(parse_task_column(text) for text in request.tasks),
        labels_table=request.labels_table,
        region_mode=RegionMode(request.region_mode) if request.region_mode else None,
        label_names=request.label_names,
        label_values=tuple(_whole_number(v) for v in request.label_values),
        allow_missing_masks=request.allow_missing_masks,
        workers=max(1, request.workers),
    )


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise RequestError(
            f"--label-values {text}",
            found="text that is not a whole number",
            expected="whole numbers, comma separated",
            remedy="Correct the option.",
        ) from error
