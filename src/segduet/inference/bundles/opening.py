"""Opening a bundle: a folder, or an archive that is checked and unpacked first."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError
from segduet.core.files import read_json
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.core.tasks import TaskSpec
from segduet.inference.bundles.entry_names import check_names
from segduet.inference.bundles.manifest import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    BundleManifest,
    BundleMember,
    parse_manifest,
)
from segduet.inference.bundles.refusals import refused, shown
from segduet.inference.bundles.sections import Section
from segduet.inference.bundles.verification import (
    MAX_RECORD_BYTES,
    check_file,
    check_listing,
    read_coarse_manifest,
    read_record,
    without_scales,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An unpacked bundle.

    Attributes:
        folder: its files.
        manifest: what they are.
        plan: plans.json.
        description: dataset.json.
        coarse: the bundle inside it that finds the region first; None without.
    """

    folder: Path
    manifest: BundleManifest
    plan: Plan
    description: DatasetDescription
    coarse: Self | None = None

    @property
    def configuration(self) -> ConfigurationPlan:
        """The configuration the networks were trained in."""
        return self.plan.configuration(self.manifest.configuration)

    @property
    def labels(self) -> LabelScheme:
        """What the predicted label maps mean."""
        return self.description.label_scheme

    @property
    def tasks(self) -> tuple[TaskSpec, ...]:
        """Case-level tasks that all members answer, without their scales."""
        return without_scales(self.manifest.members[0].network.tasks)

    @property
    def mirror_axes(self) -> tuple[int, ...]:
        """Spatial axes the networks may be mirrored along."""
        return self.manifest.mirror_axes

    @property
    def members(self) -> tuple[BundleMember, ...]:
        """The networks, which answer together."""
        return self.manifest.members

    def member_folder(self, member: BundleMember) -> Path:
        """Where a member's files lie; its `ConvertedNetwork` names them relative to this."""
        return self.folder / member.folder


def is_bundle(path: Path) -> bool:
    """Whether a path is a file, which only a packed bundle can be, or the folder of a bundle."""
    if path.is_file():
        return True
    try:
        content = read_json(path / MANIFEST_FILE)
    except DataError:
        return False
    # runs and predictions leave a manifest.json as well, without a format
    return isinstance(content, dict) and "format" in content


def open_bundle_folder(folder: Path, *, verify: bool) -> Bundle:
    """Opens an unpacked bundle.

    Args:
        folder: with the manifest.
        verify: read and check every file; otherwise only the manifest, the plan, the description
            and the length of the files, as suits a folder that segduet itself wrote.

    Raises:
        DataError: the manifest is missing or damaged, a file is missing or of another length, or
            the records contradict each other; when verifying also a file too many, a link, another
            hash, or contents that a bundle must not have.
    """
    manifest = parse_manifest(
        _read(folder / MANIFEST_FILE, MAX_MANIFEST_BYTES), where=str(folder / MANIFEST_FILE)
    )
    check_names(manifest.files, where=str(folder))
    names = sorted(files_below(folder)) if verify else list(manifest.files)
    found = {name: (folder / name).stat().st_size for name in names if (folder / name).is_file()}
    check_listing(manifest, found, where=str(folder))
    if verify:
        for name in manifest.files:
            with (folder / name).open("rb") as stream:
                check_file(name, Section.of_file(stream, folder / name), manifest)
    return _bundle(folder, manifest)


def open_bundle_archive(archive: Path, unpack_into: Path) -> Bundle:
    """Checks all of an archive, then unpacks it.

    Args:
        archive: a file of `pack_bundle`; it may come from anywhere.
        unpack_into: the folder it becomes; new or empty.

    Raises:
        DataError: the archive is missing, damaged or hostile; nothing was written.
        RequestError: the folder holds something already.
        StorageError: the disk is full or cannot be written; nothing is left behind.
    """
    from segduet.inference.bundles.extraction import extract_archive  # most bundles are unpacked

    extract_archive(archive, unpack_into)
    return open_bundle_folder(unpack_into, verify=False)


def read_bundle_manifest(path: Path) -> BundleManifest:
    """The manifest of a bundle all of whose files are checked, without unpacking an archive.

    Raises:
        DataError: the bundle is missing, damaged or hostile.
    """
    if path.is_dir():
        return open_bundle_folder(path, verify=True).manifest
    from segduet.inference.bundles.extraction import check_archive

    return check_archive(path)


def _bundle(folder: Path, manifest: BundleManifest) -> Bundle:
    def read(name: str) -> bytes:
        return _read(folder / name, MAX_RECORD_BYTES)

    plan, description = read_record(manifest, read, where=str(folder))
    coarse = None
    if manifest.coarse is not None:
        inner = read_coarse_manifest(manifest, read, where=str(folder))
        coarse = _bundle(folder / manifest.coarse, inner)
    return Bundle(
        folder=folder, manifest=manifest, plan=plan, description=description, coarse=coarse
    )


def _read(file: Path, limit: int) -> bytes:
    try:
        with file.open("rb") as stream:
            return Section.of_file(stream, file).read_all(limit)
    except OSError as error:
        raise DataError(
            str(file),
            found=f"no readable file ({error.strerror or error})",
            expected="a file of a bundle",
            remedy="Check the path, or export the model again.",
        ) from error


def files_below(folder: Path) -> Iterator[str]:
    """Paths of all files of a bundle's folder but its manifest, with forward slashes.

    Raises:
        DataError: a symbolic link, wherever it leads.
    """
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise refused(
                f"{folder}, entry {shown(name)}", found="a symbolic link", expected="a regular file"
            )
        if not path.is_dir() and name != MANIFEST_FILE:
            yield name
