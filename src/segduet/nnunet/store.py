"""Prepared cases on disk in nnU-Net's own format, with our records beside it (B11).

nnU-Net refuses foreign files in its folder, so what it has no place for lies in another:

    nnUNet_preprocessed/<Dataset>/<identifier>/CASE.b2nd, CASE_seg.b2nd, CASE.pkl
    nnUNet_preprocessed/<Dataset>/segduet_records/<identifier>/CASE.json, CASE_locations.npz

A case's record is removed before and written after everything else: a case with a record is whole.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from segduet.core.errors import DataError
from segduet.core.files import atomic_path, read_json, write_json
from segduet.core.folders import DatasetFolders
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.core.prepared import Placement, PreparedCase
from segduet.nnunet.compressed_arrays import open_array, write_array
from segduet.nnunet.locations import Regions, locate_regions, stock_locations
from segduet.nnunet.plain_pickle import read_plain_pickle, write_plain_pickle
from segduet.nnunet.stock_properties import placement_from, stock_properties

_SCHEMA_VERSION = 1
_ADOPTED = "adopted from stock nnU-Net"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCase:
    """A prepared case as it is read for training.

    Attributes:
        case: case id.
        image: (C, Z, Y, X) float32, read when sliced.
        label_map: (1, Z, Y, X) int16, read when sliced; all -1 where the case has no mask.
        has_label_map: whether there is a mask.
        placement: the way back to the user's grid.
        region_voxels: foreground label or region -> its voxels at prepared resolution.
        foreground_voxels: voxels that belong to any of them.
        locations: foreground label or region -> (N, 3) int32 of its voxels, at most 10,000.
    """

    case: str
    image: Any
    label_map: Any
    has_label_map: bool
    placement: Placement
    region_voxels: Mapping[str, int]
    foreground_voxels: int
    locations: Mapping[str, np.ndarray]

    def evidence_voxels(self, region: str | None) -> int:
        """Voxels of a foreground label or region; of any foreground where it is None."""
        return self.foreground_voxels if region is None else self.region_voxels[region]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedStore:
    """The prepared cases of one dataset and data identifier.

    Attributes:
        folder: nnU-Net's folder.
        records: ours.
        patch_zyx: patch size the arrays are cut into chunks for.
    """

    folder: Path
    records: Path
    patch_zyx: tuple[int, int, int]

    @classmethod
    def of(cls, folders: DatasetFolders, configuration: ConfigurationPlan) -> Self:
        """The store of a configuration, whether or not it exists."""
        return cls(
            folder=folders.preprocessed / configuration.data_identifier,
            records=folders.preprocessed / "segduet_records" / configuration.data_identifier,
            patch_zyx=configuration.patch_size_zyx,
        )

    def cases(self) -> tuple[str, ...]:
        """Ids of the cases that are whole, sorted."""
        names = (p.stem for p in self.records.glob("[!.]*.json"))
        return tuple(sorted(name for name in names if self._locations(name).is_file()))

    def write(self, prepared: PreparedCase, labels: LabelScheme, *, settings_hash: str) -> None:
        """Writes a case, every file atomically; a killed run leaves it incomplete, not half.

        Args:
            prepared: the case; without a label map, no `_seg.b2nd` is written.
            labels: which regions are counted and located.
            settings_hash: whatever the arrays depend on, to be asked for by `is_complete`.

        Raises:
            StorageError: a file could not be written.
        """
        case = prepared.case
        self._record(case).unlink(missing_ok=True)
        write_array(self._image(case), prepared.image.astype(np.float32), self.patch_zyx)
        if prepared.label_map is None:
            self._labels(case).unlink(missing_ok=True)
        else:
            label_map = prepared.label_map[None].astype(np.int16)
            write_array(self._labels(case), label_map, self.patch_zyx)
        regions = locate_regions(prepared.label_map, labels)
        stock = stock_locations(prepared.label_map, labels, regions)
        write_plain_pickle(self._properties(case), stock_properties(prepared.placement, stock))
        self._write_record(
            case,
            regions,
            placement=prepared.placement,
            has_label_map=prepared.label_map is not None,
            settings_hash=settings_hash,
        )

    def is_complete(self, case: str, settings_hash: str) -> bool:
        """Whether every file of the case is there and was made with these settings."""
        record = self._record(case)
        if not record.is_file() or read_json(record).get("settings_hash") != settings_hash:
            return False
        needed = [self._image(case), self._properties(case), self._locations(case)]
        if read_json(record)["has_label_map"]:
            needed.append(self._labels(case))
        return all(path.is_file() for path in needed)

    def is_current(self, case: str, preparation: str) -> bool:
        """Whether the case is whole and was prepared under this `preparation_hash`.

        Cases adopted from stock nnU-Net count as current: their settings are not recorded. Unlike
        `is_complete` this does not look at the raw files.
        """
        record = self._record(case)
        if not record.is_file():
            return False
        settings = str(read_json(record).get("settings_hash"))
        return settings == _ADOPTED or settings.partition(":")[0] == preparation

    def open(self, case: str) -> StoredCase:
        """Opens a case for reading; arrays are read when sliced.

        Raises:
            DataError: the case is not prepared, or a file is damaged.
        """
        if not self._record(case).is_file():
            raise DataError(
                str(self._record(case)),
                found=f"no prepared case {case!r}",
                expected="every case of the fold",
                remedy="Run `segduet preprocess` on the dataset and configuration.",
            )
        record = read_json(self._record(case))
        image = open_array(self._image(case))
        has_label_map = record["has_label_map"]
        nothing = np.broadcast_to(np.int16(-1), (1, *image.shape[1:]))
        names = list(record["region_voxels"])
        locations = dict(zip(names, _read_arrays(self._locations(case), len(names)), strict=True))
        return StoredCase(
            case=case,
            image=image,
            label_map=open_array(self._labels(case)) if has_label_map else nothing,
            has_label_map=has_label_map,
            placement=Placement.from_json(record["placement"]),
            region_voxels=record["region_voxels"],
            foreground_voxels=record["foreground_voxels"],
            locations=locations,
        )

    def adopt_stock(self, plan: Plan, labels: LabelScheme) -> tuple[str, ...]:
        """Writes our records for cases that stock nnU-Net prepared (B11).

        Args:
            plan: the plan they were prepared with; gives the transpose.
            labels: which regions are counted and located.

        Returns:
            The cases adopted now, sorted; those that have a record already are left alone.

        Raises:
            DataError: a file is missing, damaged, or a pickle with anything but plain types (F52).
        """
        known = set(self.cases())
        found = sorted(p.stem for p in self.folder.glob("[!.]*.pkl") if p.stem not in known)
        for case in found:
            label_map = open_array(self._labels(case))[0]
            properties = read_plain_pickle(self._properties(case))
            z, y, x = open_array(self._image(case)).shape[1:]
            placement = placement_from(properties, (z, y, x), plan, where=self._properties(case))
            self._write_record(
                case,
                locate_regions(label_map, labels),
                placement=placement,
                has_label_map=True,
                settings_hash=_ADOPTED,
            )
        return tuple(found)

    def remove_leftovers(self) -> None:
        """Deletes temporary files that a killed run left behind; no other run may be writing."""
        for folder in (self.folder, self.records):
            for path in folder.glob(".partial-*"):
                path.unlink()

    def _write_record(
        self,
        case: str,
        regions: Regions,
        *,
        placement: Placement,
        has_label_map: bool,
        settings_hash: str,
    ) -> None:
        # Region names may be anything, so arrays are named by number.
        arrays = {str(i): found for i, found in enumerate(regions.locations.values())}
        with atomic_path(self._locations(case)) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        record = {
            "schema_version": _SCHEMA_VERSION,
            "case": case,
            "settings_hash": settings_hash,
            "has_label_map": has_label_map,
            "region_voxels": dict(regions.voxels),
            "foreground_voxels": regions.foreground_voxels,
            "placement": placement.to_json(),
        }
        write_json(self._record(case), record)

    def _image(self, case: str) -> Path:
        return self.folder / f"{case}.b2nd"

    def _labels(self, case: str) -> Path:
        return self.folder / f"{case}_seg.b2nd"

    def _properties(self, case: str) -> Path:
        return self.folder / f"{case}.pkl"

    def _record(self, case: str) -> Path:
        return self.records / f"{case}.json"

    def _locations(self, case: str) -> Path:
        return self.records / f"{case}_locations.npz"


def _read_arrays(source: Path, count: int) -> list[np.ndarray]:
    try:
        with source.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return [arrays[str(i)] for i in range(count)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            str(source),
            found=f"no readable arrays ({error})",
            expected="the voxels of every region",
            remedy="Delete the case's files and run `segduet preprocess` again.",
        ) from error
