"""Images or a dataset, as cases to calibrate a network with and cases to judge it by (B14)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segduet.compression.calibration import (
    CalibrationCase,
    CalibrationSettings,
    CaseChoice,
    choose_cases,
)
from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.errors import DataError, RequestError
from segduet.core.folders import DataRoot, DatasetFolders
from segduet.dataset.folds import Fold, declared_fold, read_splits, stratifying_task
from segduet.evaluation.evaluate import References
from segduet.inference.case_input import CaseInput
from segduet.inference.inputs import find_case_inputs
from segduet.io.images import read_image, read_label_map
from segduet.nnunet.locations import locate_regions
from segduet.nnunet.preprocess import preparation_hash
from segduet.nnunet.store import PreparedStore
from segduet.preparation.prepare import prepare_case
from segduet.workflows.models import Model
from segduet.workflows.reference_dataset import ReferenceDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCase:
    """A case that calibration has not seen.

    Attributes:
        record: its ids, and its classes where they are known.
        images: one file per channel.
        mask: the drawn mask; None where there is none.
    """

    record: CaseRecord
    images: Sequence[Path]
    mask: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationCases:
    """Cases for one model.

    Attributes:
        model: what is calibrated; says how a case is prepared.
        images: case -> its files.
        table: patients, and classes where they are known.
        references: drawn masks; None where there are images alone.
        choice: which cases serve for what.
        store: cases that are prepared already; None where there are images alone.
    """

    model: Model
    images: Mapping[str, Sequence[Path]]
    table: CaseTable
    references: References | None
    choice: CaseChoice
    store: PreparedStore | None

    def to_calibrate(self) -> Iterator[CalibrationCase]:
        """The calibration cases as the network sees them, one at a time.

        One that `segduet preprocess` prepared with the model's plan is read, the others are
        prepared now, which gives the same.

        Raises:
            DataError: an image cannot be read or does not fit the model.
        """
        model = self.model
        settings = preparation_hash(model.plan, model.configuration, model.labels)
        for case in self.choice.calibration:
            if self.store is not None and self.store.is_current(case, settings):
                stored = self.store.open(case)
                yield CalibrationCase(case=case, image=stored.image, locations=stored.locations)
            else:
                yield self._prepared(case)

    def held(self) -> Iterator[HeldCase]:
        """The cases to judge by."""
        for case in self.choice.held:
            yield HeldCase(
                record=self.table.record(case), images=self.images[case], mask=self._mask(case)
            )

    def _mask(self, case: str) -> Path | None:
        return self.references.mask(case) if self.references else None

    def _prepared(self, case: str) -> CalibrationCase:
        mask = self._mask(case)
        prepared = prepare_case(
            read_image(self.images[case]),
            read_label_map(mask).array[0] if mask else None,
            case=case,
            plan=self.model.plan,
            configuration=self.model.configuration,
        )
        regions = locate_regions(prepared.label_map, self.model.labels)
        return CalibrationCase(case=case, image=prepared.image, locations=regions.locations)


def find_calibration_cases(
    model: Model,
    source: str,
    root: DataRoot,
    *,
    folds: Sequence[str],
    settings: CalibrationSettings,
) -> CalibrationCases:
    """The cases of a folder of images, or of a dataset.

    Of a dataset with folds (or a declared split) training cases of the first fold calibrate, and
    the cases that all folds left for validation are held; otherwise the cases are divided,
    patients undivided. Test cases are left alone.

    Args:
        model: what is calibrated.
        source: folder of images named as for `predict`, raw dataset folder, or a dataset's name.
        root: where datasets are.
        folds: of the model, numbers or `all`.
        settings: how many cases, and the seed.

    Raises:
        RequestError: no such dataset, too few cases or patients, or folds that were trained on each
            other's validation cases.
        DataError: no images, or a dataset with other labels than the model's.
    """
    folder = Path(source)
    if folder.is_dir() and not (folder / "dataset.json").is_file():
        return _of_images(model, folder, settings)
    dataset = ReferenceDataset.open(root, source)
    _require_same_labels(model, dataset)
    images = dataset.image_files()
    folders = root.new_dataset(dataset.folder.name)
    parts = _common(dataset.table, folders, folds)
    train, val = ([c for c in part if c in images] for part in (parts.train, parts.val))
    return CalibrationCases(
        model=model,
        images=images,
        table=dataset.table,
        references=dataset.references(),
        choice=choose_cases(
            dataset.table,
            stratifying_task(dataset.description.tasks),
            train=train,
            val=val,
            settings=settings,
        ),
        store=PreparedStore.of(folders, model.configuration),
    )


def find_held_cases(
    model: Model, source: str, root: DataRoot, *, folds: Sequence[str]
) -> list[HeldCase]:
    """Cases to judge models by that were not fitted to them.

    Of a dataset the validation cases of all the folds, or of the declared split; of a folder all
    images.

    Args:
        model: what is judged.
        source: folder of images named as for `predict`, raw dataset folder, or a dataset's name.
        root: where datasets are.
        folds: of all models that are judged, numbers or `all`.

    Raises:
        RequestError: no such dataset, no validation cases, or folds that were trained on each
            other's.
        DataError: no images, or a dataset with other labels than the model's.
    """
    folder = Path(source)
    if folder.is_dir() and not (folder / "dataset.json").is_file():
        return [
            HeldCase(
                record=CaseRecord(case=i.case, patient=i.case), images=i.image_paths, mask=None
            )
            for i in _inputs(model, folder)
        ]
    dataset = ReferenceDataset.open(root, source)
    _require_same_labels(model, dataset)
    images, references = dataset.image_files(), dataset.references()
    held = _common(dataset.table, root.new_dataset(dataset.folder.name), folds).val
    if not held:
        raise RequestError(
            str(dataset.folder),
            found=f"no validation cases of the folds {list(folds)}",
            expected="cases that the model was not trained on",
            remedy="Name a folder of other images.",
        )
    return [
        HeldCase(record=dataset.table.record(c), images=images[c], mask=references.mask(c))
        for c in held
        if c in images
    ]


def _inputs(model: Model, folder: Path) -> list[CaseInput]:
    return find_case_inputs(
        folder,
        num_channels=model.description.num_channels,
        file_ending=model.description.file_ending,
    )


def _of_images(model: Model, folder: Path, settings: CalibrationSettings) -> CalibrationCases:
    inputs = _inputs(model, folder)
    records = tuple(CaseRecord(case=i.case, patient=i.case) for i in inputs)
    table = CaseTable(records=records, where=str(folder))
    return CalibrationCases(
        model=model,
        images={i.case: i.image_paths for i in inputs},
        table=table,
        references=None,
        choice=choose_cases(table, None, train=table.cases, val=(), settings=settings),
        store=None,
    )


def _common(table: CaseTable, folders: DatasetFolders, folds: Sequence[str]) -> Fold:
    """Training cases of the first fold, and the validation cases that the folds have in common."""
    parts = [_fold(table, folders, fold) for fold in dict.fromkeys(folds)]
    held = tuple(case for case in parts[0].val if all(case in part.val for part in parts))
    if parts[0].val and not held:
        raise RequestError(
            f"folds {', '.join(dict.fromkeys(folds))}",
            found="no case that none of them was trained on",
            expected="one fold, which is judged by its own validation cases",
            remedy="Name a single fold (--folds 0, or the model's folder fold_0), or a folder of "
            "images that no fold was trained on.",
        )
    return Fold(train=parts[0].train, val=held)


def _fold(table: CaseTable, folders: DatasetFolders, fold: str) -> Fold:
    """Training and validation cases of a fold; without folds all cases are training cases."""
    splits = read_splits(folders.splits_file) if folders.splits_file.is_file() else ()
    if fold.isdigit() and int(fold) < len(splits):
        return splits[int(fold)]
    declared = declared_fold(table)
    if declared is not None and fold != "all":
        return declared
    return Fold(train=tuple(r.case for r in table if r.split != "test"), val=())


def _require_same_labels(model: Model, dataset: ReferenceDataset) -> None:
    if dataset.description.label_scheme != model.labels:
        raise DataError(
            str(dataset.folder),
            found=f"labels {dict(dataset.description.label_scheme.labels)}",
            expected=f"those of the model, {dict(model.labels.labels)}",
            remedy="Bring the dataset that it was trained on, or a folder with images alone.",
        )
