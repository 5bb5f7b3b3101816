"""The manifest of a bundle: what it holds, what it was made from, and a hash of every file.

A bundle is a folder, or the same folder as one archive: `manifest.json`, `plans.json`,
`dataset.json`, `MODEL_CARD.md`, the converted networks under `members/<name>/`, and at wish another
bundle for the coarse look in a folder of its own.
"""

import hashlib
import json
import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from segduet.core.description import validated
from segduet.core.errors import DataError
from segduet.core.runtime import ConvertedNetwork, RuntimeFormat

FORMAT = "segduet-bundle-1"
MANIFEST_FILE = "manifest.json"
PLANS_FILE = "plans.json"
DATASET_FILE = "dataset.json"
CARD_FILE = "MODEL_CARD.md"
MEMBERS_FOLDER = "members"

#: Thousands of files fit well below this; larger ones are refused unread.
MAX_MANIFEST_BYTES = 4 * 2**20

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def _printable(text: str) -> str:
    # `segduet info` shows these on a terminal, which obeys control characters
    if not text.isprintable():
        raise ValueError("text with control characters")
    return text


def _file_name(text: str) -> str:
    if not _FILE_NAME.fullmatch(text):
        raise ValueError("expected the name of a file beside it, of letters, digits, '.', '_', '-'")
    return text


def _plain_name(text: str) -> str:
    if not _PLAIN_NAME.fullmatch(text):
        raise ValueError("expected a name of letters, digits, '_' and '-'")
    return text


Printable = Annotated[str, Field(min_length=1), AfterValidator(_printable)]
PlainName = Annotated[str, AfterValidator(_plain_name)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class FileRecord(BaseModel):
    """Length and hash of one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Sha256
    bytes: int = Field(ge=0, strict=True)


class BundleSource(BaseModel):
    """What a bundle was converted from.

    Attributes:
        folder: name of the model folder, without the path to it.
        weights_sha256: member name -> hash of the weights it was converted from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Printable
    weights_sha256: dict[PlainName, Sha256]


class BundleMember(BaseModel):
    """One network of a bundle, most often one fold.

    Attributes:
        name: of the member; its files lie in `members/<name>/`.
        network: the converted network; its files are named relative to that folder.
        weights: safetensors file in the same folder, to train on from; None where left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PlainName
    network: ConvertedNetwork
    weights: str | None = None

    @model_validator(mode="after")
    def _names_files_of_its_format(self) -> "BundleMember":
        suffix = {RuntimeFormat.OPENVINO: ".xml", RuntimeFormat.ONNX: ".onnx"}[self.network.format]
        graphs = [self.network.windows_file, self.network.heads_file]
        for name, wanted in [*((g, suffix) for g in graphs), (self.weights, ".safetensors")]:
            if name is not None and not _file_name(name).endswith(wanted):
                raise ValueError(f"file {name!r} should end in {wanted}")
        if (self.network.heads_file is None) != (not self.network.tasks):
            raise ValueError("a graph of the heads belongs to tasks, and tasks to one")
        for task in self.network.tasks:
            _printable("".join((task.name, *task.classes, task.unit or "")))
        return self

    @property
    def folder(self) -> str:
        """Where its files lie, relative to the bundle's folder."""
        return f"{MEMBERS_FOLDER}/{self.name}"

    @property
    def files(self) -> list[str]:
        """Files it cannot do without, relative to the bundle's folder."""
        graphs = [n for n in (self.network.windows_file, self.network.heads_file) if n is not None]
        names = list(graphs)
        if self.network.format is RuntimeFormat.OPENVINO:
            names += [str(PurePosixPath(name).with_suffix(".bin")) for name in graphs]
        return [f"{self.folder}/{n}" for n in [*names, *([self.weights] if self.weights else [])]]


class CarriedCalibration(BaseModel):
    """What calibrates the answers, as `segduet calibrate learn` wrote it.

    Attributes:
        sha256: of the content, as compact JSON with sorted keys.
        content: plain types.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Sha256
    content: dict[str, JsonValue]

    @classmethod
    def of(cls, content: dict[str, JsonValue]) -> "CarriedCalibration":
        """The content with its hash."""
        return cls(sha256=_digest(content), content=content)

    @model_validator(mode="after")
    def _is_unchanged(self) -> "CarriedCalibration":
        if (found := _digest(self.content)) != self.sha256:
            raise ValueError(f"the calibration has the hash {found}: it was changed")
        return self


class BundleManifest(BaseModel):
    """Content of a bundle's `manifest.json`.

    Attributes:
        format: version of this layout.
        segduet: version that wrote it.
        created: ISO 8601, UTC.
        source: what it was converted from.
        configuration: name of the configuration in plans.json.
        mirror_axes: spatial axes the networks may be mirrored along.
        members: the networks, which answer together.
        files: every file but this one, by path with forward slashes.
        gate: report of the accuracy gate; None where none was run.
        calibration: what turns the answers' probabilities into calibrated ones; None without.
        coarse: sub-folder with a bundle that finds the region first; None without.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["segduet-bundle-1"]
    segduet: Printable
    created: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")
    source: BundleSource
    configuration: Printable
    mirror_axes: tuple[Annotated[int, Field(ge=0, le=2, strict=True)], ...]
    members: tuple[BundleMember, ...] = Field(min_length=1)
    files: dict[str, FileRecord]
    gate: dict[str, JsonValue] | None = None
    calibration: CarriedCalibration | None = None
    coarse: PlainName | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "BundleManifest":
        names = [member.name for member in self.members]
        if len({name.casefold() for name in names}) != len(names):
            raise ValueError(f"member names {names} repeat")
        if set(self.source.weights_sha256) != set(names):
            raise ValueError("source.weights_sha256 should name every member, and nothing else")
        if self.coarse is not None and self.coarse.casefold() == MEMBERS_FOLDER:
            raise ValueError("the coarse bundle needs a folder of its own")
        return self

    @property
    def needed_files(self) -> list[str]:
        """Files a bundle of these members cannot do without."""
        own = [PLANS_FILE, DATASET_FILE, CARD_FILE]
        coarse = [f"{self.coarse}/{MANIFEST_FILE}"] if self.coarse else []
        return [*own, *(f for member in self.members for f in member.files), *coarse]

    def to_json(self) -> dict[str, Any]:
        """Plain types, as in `manifest.json`."""
        return self.model_dump(mode="json")


def parse_manifest(content: bytes, *, where: str) -> BundleManifest:
    """Reads the bytes of a `manifest.json`.

    Raises:
        DataError: too big, not UTF-8 JSON, a repeated or unknown key, another format version, or
            an entry that is missing or wrong.
    """
    if len(content) > MAX_MANIFEST_BYTES:
        raise DataError(
            where,
            found=f"a manifest of {len(content)} bytes",
            expected=f"at most {MAX_MANIFEST_BYTES}",
            remedy="Export the model again.",
        )
    try:
        parsed = json.loads(content.decode("utf-8"), object_pairs_hook=_without_repeats)
    # ValueError: not UTF-8, not JSON, a repeated key or a number of too many digits
    except (ValueError, RecursionError) as error:
        raise DataError(
            where,
            found=f"a manifest that cannot be read ({error})",
            expected="UTF-8 JSON without repeated keys",
            remedy="Export the model again.",
        ) from error
    found = parsed.get("format") if isinstance(parsed, dict) else None
    if found != FORMAT:
        raise DataError(
            where,
            found=f"the format {found!r}",
            expected=f"a bundle of the format {FORMAT!r}",
            remedy="Export the model again with this version of segduet.",
        )
    return validated(BundleManifest, parsed, where=where)


def _digest(content: dict[str, JsonValue]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {repeated!r} repeats")
    return content
