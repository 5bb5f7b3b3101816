"""Making a bundle of a folder that holds converted networks."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from segduet.core.description import DatasetDescription, validated
from segduet.core.errors import SegduetError
from segduet.core.files import sha256, write_json, write_text
from segduet.core.manifest import utc
from segduet.core.plan import Plan
from segduet.core.version import __version__
from segduet.inference.bundles.contents import check_contents
from segduet.inference.bundles.entry_names import check_names
from segduet.inference.bundles.manifest import (
    CARD_FILE,
    DATASET_FILE,
    FORMAT,
    MANIFEST_FILE,
    PLANS_FILE,
    BundleManifest,
    BundleMember,
    BundleSource,
    CarriedCalibration,
    FileRecord,
)
from segduet.inference.bundles.model_card import CardRecord, TrainingEvidence, model_card
from segduet.inference.bundles.opening import files_below, open_bundle_folder
from segduet.inference.bundles.sections import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleExtras:
    """What a bundle may hold beside its networks.

    Attributes:
        evidence: member name -> what is known of its training; for the model card.
        gate: report of the accuracy gate, plain types.
        calibration: what calibrates the answers' probabilities.
        coarse: name of a sub-folder that is a bundle already, for the coarse look.
    """

    evidence: dict[str, TrainingEvidence] = field(default_factory=dict)
    gate: dict[str, JsonValue] | None = None
    calibration: CarriedCalibration | None = None
    coarse: str | None = None


def write_bundle_folder(
    folder: Path,
    *,
    plan: Plan,
    description: DatasetDescription,
    configuration_name: str,
    mirror_axes: tuple[int, ...],
    members: Sequence[BundleMember],
    source: BundleSource,
    extras: BundleExtras | None = None,
) -> BundleManifest:
    """Makes a bundle of a folder that holds the members' files.

    Adds plans.json, dataset.json, the model card and, last, the manifest: a folder without one is
    no bundle yet.

    Args:
        folder: with `members/<name>/` for every member, and nothing that does not belong there.
        plan: of the model.
        description: of its dataset.
        configuration_name: of the plan, in which the networks were trained.
        mirror_axes: spatial axes the networks may be mirrored along.
        members: the networks, in the order in which they answer.
        source: what they were converted from.
        extras: what else there is.

    Raises:
        DataError: a member's file is missing, a file is not what its ending says or has none that
            a bundle may hold, or the records contradict each other.
        StorageError: the disk is full or cannot be written.
    """
    assert set(source.weights_sha256) == {member.name for member in members}, source
    extras = extras or BundleExtras()
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    write_json(folder / PLANS_FILE, plan.to_json())
    description.write(folder / DATASET_FILE)
    card = CardRecord(
        plan=plan,
        description=description,
        configuration_name=configuration_name,
        members=tuple(members),
        source=source,
        evidence=extras.evidence,
        gate=extras.gate,
    )
    write_text(folder / CARD_FILE, model_card(card))
    content = {
        "format": FORMAT,
        "segduet": __version__,
        "created": utc(time.time()),
        "source": source,
        "configuration": configuration_name,
        "mirror_axes": mirror_axes,
        "members": tuple(members),
        "files": _file_records(folder),
        "gate": extras.gate,
        "calibration": extras.calibration,
        "coarse": extras.coarse,
    }
    manifest = validated(BundleManifest, content, where=str(folder / MANIFEST_FILE))
    _check_files(folder, manifest)
    _write_manifest(folder, manifest)
    return manifest


def _file_records(folder: Path) -> dict[str, FileRecord]:
    return {
        name: FileRecord(sha256=sha256(folder / name), bytes=(folder / name).stat().st_size)
        for name in sorted(files_below(folder))
    }


def _check_files(folder: Path, manifest: BundleManifest) -> None:
    check_names(manifest.files, where=str(folder))
    sizes = {name: record.bytes for name, record in manifest.files.items()}
    for name in manifest.files:
        with (folder / name).open("rb") as stream:
            check_contents(name, Section.of_file(stream, folder / name), sizes)


def _write_manifest(folder: Path, manifest: BundleManifest) -> None:
    """Writes the manifest, but takes it back where the bundle could not be opened with it."""
    write_json(folder / MANIFEST_FILE, manifest.to_json())
    try:
        open_bundle_folder(folder, verify=False)
    except SegduetError:
        (folder / MANIFEST_FILE).unlink()
        raise
