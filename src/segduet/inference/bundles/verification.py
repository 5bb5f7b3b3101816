"""Whether the files of a bundle are those of its manifest, and make sense together."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping

from segduet.core.description import DatasetDescription, validated
from segduet.core.errors import DataError
from segduet.core.labels import LabelScheme
from segduet.core.plan import Plan
from segduet.core.tasks import TaskSpec
from segduet.inference.bundles.manifest import (
    DATASET_FILE,
    MANIFEST_FILE,
    PLANS_FILE,
    BundleManifest,
    BundleMember,
    parse_manifest,
)
from segduet.inference.bundles.refusals import refused, shown
from segduet.inference.bundles.sections import Section

#: Of plans.json and dataset.json; larger ones are refused unread.
MAX_RECORD_BYTES = 64 * 2**20

_FILE_ENDING = re.compile(r"(\.[A-Za-z0-9]{1,10}){1,3}")

#: Gives the bytes of a file of the bundle by its path.
ReadFile = Callable[[str], bytes]


def check_listing(manifest: BundleManifest, found: Mapping[str, int], *, where: str) -> None:
    """Checks that the files are those of the manifest, by name and length.

    Args:
        manifest: of the bundle.
        found: path -> bytes of every file there is, but the manifest itself.
        where: the bundle, for messages.

    Raises:
        DataError: a file too many, too few, or of another length.
    """
    for name in sorted(found.keys() - manifest.files.keys()):
        raise refused(
            f"{where}, entry {shown(name)}",
            found="a file that the manifest does not name",
            expected="the files of the manifest",
        )
    for name, record in manifest.files.items():
        if name not in found:
            raise refused(
                f"{where}, entry {shown(name)}",
                found="no such file, though the manifest names it",
                expected="the files of the manifest",
            )
        if found[name] != record.bytes:
            raise refused(
                f"{where}, entry {shown(name)}",
                found=f"{found[name]} bytes",
                expected=f"{record.bytes}, as the manifest says",
            )


def check_file(name: str, content: Section, manifest: BundleManifest) -> None:
    """Checks the hash of one file, and that it is what its ending says.

    Raises:
        DataError: another hash, or contents that a bundle must not have.
    """
    digest = hashlib.sha256()
    for chunk in content.chunks():
        digest.update(chunk)
    expected = manifest.files[name].sha256
    if digest.hexdigest() != expected:
        raise refused(
            content.where,
            found=f"the hash {digest.hexdigest()}",
            expected=f"{expected}, of the manifest",
        )
    from segduet.inference.bundles.contents import check_contents  # a kept bundle was looked into

    sizes = {name: record.bytes for name, record in manifest.files.items()}
    check_contents(name, content, sizes)


def read_record(
    manifest: BundleManifest, read: ReadFile, *, where: str
) -> tuple[Plan, DatasetDescription]:
    """The plan and the dataset's description of a bundle, checked against its manifest.

    Args:
        manifest: of the bundle.
        read: gives the bytes of its files.
        where: the bundle, for messages.

    Raises:
        DataError: a file that the bundle needs is missing, one is damaged, or they contradict each
            other.
        RequestError: the plan's configuration inherits from itself or from a missing one.
    """
    for name in manifest.needed_files:
        if name not in manifest.files:
            raise refused(
                where, found=f"no {shown(name)} among the manifest's files", expected="this file"
            )
    plan = validated(Plan, _json(read, PLANS_FILE, where), where=f"{where}, {PLANS_FILE}")
    description = validated(
        DatasetDescription, _json(read, DATASET_FILE, where), where=f"{where}, {DATASET_FILE}"
    )
    LabelScheme.from_dataset_json(
        description.labels, description.regions_class_order, where=f"{where}, {DATASET_FILE}"
    )
    if not _FILE_ENDING.fullmatch(description.file_ending):
        # answers are written to files with it, so it must not be a path
        raise refused(
            f"{where}, {DATASET_FILE}",
            found=f"the file ending {shown(description.file_ending)}",
            expected="an ending such as .nii.gz",
        )
    dims = _num_spatial_dims(plan, manifest.configuration, where)
    axes = manifest.mirror_axes
    if len(set(axes)) != len(axes) or any(axis >= dims for axis in axes):
        raise refused(where, found=f"mirror axes {list(axes)}", expected=f"axes below {dims}, once")
    for member in manifest.members:
        _check_member(member, manifest.members[0], dims, where)
    return plan, description


def read_coarse_manifest(manifest: BundleManifest, read: ReadFile, *, where: str) -> BundleManifest:
    """The manifest of the coarse bundle inside a bundle, which must list the same files.

    Raises:
        DataError: it is damaged, lists other files than the outer one, or has a coarse bundle too.
    """
    assert manifest.coarse is not None
    prefix = f"{manifest.coarse}/"
    inner = parse_manifest(read(prefix + MANIFEST_FILE), where=f"{where}, {prefix}{MANIFEST_FILE}")
    own = {
        name.removeprefix(prefix): record
        for name, record in manifest.files.items()
        if name.startswith(prefix) and name != prefix + MANIFEST_FILE
    }
    if inner.files != own or inner.coarse is not None:
        raise refused(
            f"{where}, {prefix}{MANIFEST_FILE}",
            found="other files than the outer manifest lists, or a coarse bundle once more",
            expected="one coarse bundle, of the same files in both manifests",
        )
    return inner


def without_scales(tasks: tuple[TaskSpec, ...]) -> tuple[TaskSpec, ...]:
    """Tasks as the members of an ensemble share them."""
    return tuple(task.model_copy(update={"scale": None}) for task in tasks)


def _num_spatial_dims(plan: Plan, configuration: str, where: str) -> int:
    if configuration not in plan.configurations:
        raise refused(
            where,
            found=f"the configuration {shown(configuration)}",
            expected=f"one of the plan's, {sorted(plan.configurations)}",
        )
    try:
        return plan.configuration(configuration).num_spatial_dims
    # a name of another type, or an endless line of ancestors
    except (TypeError, RecursionError) as error:
        raise refused(
            f"{where}, {PLANS_FILE}",
            found=f"a configuration that inherits from what cannot be followed ({error})",
            expected="the name of another one",
        ) from error


def _check_member(member: BundleMember, first: BundleMember, dims: int, where: str) -> None:
    network = member.network
    if network.num_spatial_dims != dims:
        raise refused(
            f"{where}, member {member.name}",
            found=f"a network of {network.num_spatial_dims} dimensions",
            expected=f"{dims}, as in the plan",
        )
    if without_scales(network.tasks) != without_scales(first.network.tasks):
        raise refused(
            f"{where}, member {member.name}",
            found=f"a network that answers {[task.name for task in network.tasks]}",
            expected=f"the questions of {first.name}, {[t.name for t in first.network.tasks]}",
        )


def _json(read: ReadFile, name: str, where: str) -> object:
    try:
        return json.loads(read(name).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where}, {name}",
            found=f"a file that cannot be read as JSON ({error})",
            expected="valid UTF-8 JSON",
            remedy="Export the model again.",
        ) from error
