"""A small sound bundle (`write_sound`), and archives that deviate from it in any way one likes."""

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from segduet.core.description import DatasetDescription
from segduet.core.plan import Plan
from segduet.core.runtime import ConvertedNetwork
from segduet.core.tasks import TaskSpec
from segduet.inference.bundles.manifest import BundleMember, BundleSource
from segduet.inference.bundles.writing import write_bundle_folder

TASK = TaskSpec(name="subtype", classes=("a", "b", "c"))

GRAPH = (
    b'<?xml version="1.0"?>\n<net name="n" version="11"><layers>'
    b'<layer id="0" name="/w" type="Const" version="opset1">'
    b'<data element_type="f32" shape="2, 4" offset="0" size="32" /></layer>'
    b"</layers><edges></edges></net>"
)
WEIGHTS = np.arange(8, dtype=np.float32).tobytes()

PLAN = {
    "dataset_name": "Dataset501_tiny",
    "plans_name": "segduetSmallPlans",
    "configurations": {
        "3d_fullres": {
            "data_identifier": "x",
            "batch_size": 2,
            "patch_size": [8, 16, 16],
            "spacing": [2.0, 1.0, 1.0],
            "median_image_size_in_voxels": [8, 20, 20],
            "normalization_schemes": ["CTNormalization"],
            "use_mask_for_norm": [False],
            "architecture": {"network_class_name": "n", "arch_kwargs": {}},
            "batch_dice": False,
        }
    },
}
DESCRIPTION = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "organ": 1, "lesion": 2},
    "numTraining": 7,
    "file_ending": ".nii.gz",
    "segduet": {"tasks": [TASK.model_dump(mode="json")]},
}


def network(**changes: object) -> ConvertedNetwork:
    """An OpenVINO network with masks and one task."""
    content = {
        "format": "openvino",
        "stored_precision": "fp32",
        "windows_file": "windows.xml",
        "heads_file": "heads.xml",
        "tasks": (TASK,),
        "with_masks": True,
        "num_spatial_dims": 3,
        "total_strides": (4, 4, 4),
    }
    return ConvertedNetwork.model_validate({**content, **changes})


def fill(folder: Path) -> None:
    """Writes the files of member `0`, with weights to train on."""
    folder.mkdir(parents=True)
    for name in ("windows", "heads"):
        (folder / f"{name}.xml").write_bytes(GRAPH)
        (folder / f"{name}.bin").write_bytes(WEIGHTS)
    (folder / "model.safetensors").write_bytes(save({"w": np.ones((2, 3), dtype=np.float32)}))


def write_sound(folder: Path, **changes: object) -> None:
    """Writes a bundle of one member; keyword arguments replace those of the writer."""
    fill(folder / "members" / "0")
    arguments = {
        "plan": Plan.model_validate(PLAN),
        "description": DatasetDescription.model_validate(DESCRIPTION),
        "configuration_name": "3d_fullres",
        "mirror_axes": (0, 1, 2),
        "members": [BundleMember(name="0", network=network(), weights="model.safetensors")],
        "source": BundleSource(folder="model", weights_sha256={"0": "ab" * 32}),
    }
    write_bundle_folder(folder, **{**arguments, **changes})


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEntry:
    """One entry of an archive, every field of which can lie."""

    name: bytes
    data: bytes
    flags: int = 0
    method: int = 0
    attributes: int = 0o100644 << 16
    size: int | None = None
    stored: int | None = None
    crc: int | None = None
    extra: bytes = b""
    comment: bytes = b""
    local_name: bytes | None = None
    offset: int | None = None
    gap: bytes = b""


def raw_zip(
    entries: Sequence[RawEntry],
    *,
    before: bytes = b"",
    after: bytes = b"",
    comment: bytes = b"",
    count: int | None = None,
) -> bytes:
    """An archive of exactly these entries, written without any check."""
    body, directory = before, b""
    for entry in entries:
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        stored = len(entry.data) if entry.stored is None else entry.stored
        size = len(entry.data) if entry.size is None else entry.size
        offset = len(body) if entry.offset is None else entry.offset
        common = (20, entry.flags, entry.method, 0, 0x21, crc, stored, size)
        local_name = entry.name if entry.local_name is None else entry.local_name
        lengths = (len(local_name), len(entry.extra))
        body += struct.pack("<4s5H3L2H", b"PK\3\4", *common, *lengths)
        body += local_name + entry.extra + entry.data + entry.gap
        directory += struct.pack(
            "<4s6H3L5H2L",
            b"PK\1\2",
            0x0314,
            *common,
            len(entry.name),
            len(entry.extra),
            len(entry.comment),
            0,
            0,
            entry.attributes,
            offset,
        )
        directory += entry.name + entry.extra + entry.comment
    number = len(entries) if count is None else count
    end = (b"PK\5\6", 0, 0, number, number, len(directory), len(body), len(comment))
    return body + directory + struct.pack("<4s4H2LH", *end) + comment + after


class Forge:
    """Archives made from a sound bundle by changing one thing."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)

    def manifest(self, files: Mapping[str, bytes], /, **changes: object) -> bytes:
        """The sound manifest for other files: names, lengths and hashes fit."""
        content = json.loads(self.files["manifest.json"])
        content["files"] = {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for name, data in files.items()
            if name != "manifest.json"
        }
        return json.dumps({**content, **changes}).encode()

    def entries(
        self, changed: Mapping[str, bytes | None] | None = None, **manifest: object
    ) -> list[RawEntry]:
        """Entries of the sound bundle with files added, replaced or (None) left out."""
        changed = changed or {}
        files = {n: d for n, d in {**self.files, **changed}.items() if d is not None}
        if "manifest.json" not in changed:
            files["manifest.json"] = self.manifest(files, **manifest)
        return [RawEntry(name=name.encode(), data=data) for name, data in files.items()]

    def archive(
        self, changed: Mapping[str, bytes | None] | None = None, **manifest: object
    ) -> bytes:
        """The archive of `entries`."""
        return raw_zip(self.entries(changed, **manifest))

    def first(self, **changes: object) -> bytes:
        """The sound archive with fields of its first entry changed."""
        entries = self.entries()
        return raw_zip([replace(entries[0], **changes), *entries[1:]])

    def named(self, name: str) -> bytes:
        """The sound archive and one more JSON file of this name, which the manifest lists too."""
        return self.archive({name: b"{}"})
