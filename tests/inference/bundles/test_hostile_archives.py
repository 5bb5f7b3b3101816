"""B20, C3.14: archives made to harm, each refused for its own reason, before any writing."""

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segduet.core.errors import DataError, RequestError
from segduet.inference.bundles.extraction import extract_archive
from segduet.inference.bundles.manifest import MAX_MANIFEST_BYTES
from segduet.inference.bundles.opening import open_bundle_archive, read_bundle_manifest
from segduet.inference.bundles.zip_directory import MAX_ENTRIES
from tiny_bundles import GRAPH, WEIGHTS, Forge, RawEntry, network, raw_zip, write_sound

BIN, XML = "members/0/windows.bin", "members/0/windows.xml"
TENSORS = "members/0/model.safetensors"
PAYLOAD = {"weights": list(range(8))}

Hostile = Callable[[Forge], bytes]


def graph_with(text: bytes, after: bytes = b'<?xml version="1.0"?>\n') -> bytes:
    return GRAPH.replace(after, after + text)


def field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return bytes([*_varint(number << 3 | 2), *_varint(len(content))]) + content


def _varint(value: int) -> list[int]:
    low = []
    while value > 0x7F:
        low.append(value & 0x7F | 0x80)
        value >>= 7
    return [*low, value]


def onnx_with_external_data(location: str) -> bytes:
    """ModelProto.graph.initializer.external_data {location}, inside a node's attribute as well."""
    tensor = field(13, field(1, b"location") + field(2, location.encode()))
    node = field(4, b"Constant") + field(5, field(1, b"value") + field(5, tensor))
    return b"\x08\x08" + field(7, field(1, node))


def zip_of_pickles() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(PAYLOAD))
    return stream.getvalue()


def tensors(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def bomb(forge: Forge) -> bytes:
    """A gigabyte of zeros in a megabyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros, crc = b"\0" * 2**20, 0
    packed = b"".join(packer.compress(zeros) for _ in range(16)) + packer.flush()
    for _ in range(16):
        crc = zlib.crc32(zeros, crc)
    entry = RawEntry(name=b"zeros.bin", data=packed, method=8, size=2**24, crc=crc)
    return raw_zip([*forge.entries(), entry])


def overlap(forge: Forge) -> bytes:
    """Two entries that share their bytes, as bombs without compression do."""
    entries = forge.entries({"copy.bin": WEIGHTS})
    inner = next(e for e in entries if e.name == b"copy.bin")
    header = struct.pack(
        "<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0x21, zlib.crc32(inner.data), 32, 32, 8, 0
    )
    outer = RawEntry(name=b"outer.bin", data=header + b"copy.bin" + inner.data)
    others = [e for e in entries if e.name != b"copy.bin"]
    start = len(raw_zip(others)) - sum(46 + len(e.name) for e in others) - 22
    return raw_zip([*others, outer, replace(inner, offset=start + 30 + 9)])


def shrunken(forge: Forge) -> bytes:
    """An entry that says it is longer than the file."""
    return forge.first(size=10**6, stored=10**6)


def zip64(forge: Forge) -> bytes:
    good = bytearray(forge.archive())
    good[-6:-2] = b"\xff" * 4
    return bytes(good)


def coarse_with_other_files(forge: Forge) -> bytes:
    return forge.archive(
        {f"coarse/{name}": content for name, content in forge.files.items()} | {"coarse/x.md": b""},
        coarse="coarse",
    )


def listing_changed(**record: object) -> Hostile:
    """The manifest lies about one file."""

    def make(forge: Forge) -> bytes:
        content = json.loads(forge.files["manifest.json"])
        content["files"][BIN] |= record
        return forge.archive({"manifest.json": json.dumps(content).encode()})

    return make


def member_changed(**changes: object) -> Hostile:
    return lambda f: f.archive(
        members=[
            {"name": "0", "network": network(**changes).model_dump(mode="json"), "weights": None}
        ]
    )


HOSTILE: Mapping[str, tuple[str, Hostile]] = {
    # no archive, or something around it
    "not an archive": ("does not begin as an archive", lambda f: b"hello" * 20),
    "an empty file": ("does not begin as an archive", lambda f: b""),
    "cut short": ("no end record", lambda f: f.archive()[:-5]),
    "data behind it": ("no end record", lambda f: f.archive() + b"more"),
    "a comment": ("no end record", lambda f: raw_zip(f.entries(), comment=b"hi")),
    "data before it": (
        "does not begin as an archive",
        lambda f: raw_zip(f.entries(), before=b"#!/bin/sh\n"),
    ),
    "another archive before it": (
        "hidden bytes",
        lambda f: raw_zip(f.entries(), before=b"PK\3\4 anything"),
    ),
    "64-bit extensions": ("64-bit extensions", zip64),
    "fewer entries announced": (
        "behind the directory's last",
        lambda f: raw_zip(f.entries(), count=1),
    ),
    "more entries announced": ("ends too early", lambda f: raw_zip(f.entries(), count=99)),
    # names
    "an absolute path": ("an absolute path", lambda f: f.named("/etc/segduet.json")),
    "a way out": (r"out of the bundle \('\.\.'\)", lambda f: f.named("members/../../x.json")),
    "a drive letter": ("a drive letter", lambda f: f.named("C:x.json")),
    "a backslash": ("a backslash", lambda f: f.named("..\\..\\x.json")),
    "a NUL in a name": ("a NUL", lambda f: f.named("card.json\0.md")),
    "control characters in a name": ("control characters", lambda f: f.named("a\x1b[2Jb.json")),
    "text direction in a name": ("control characters", lambda f: f.named("nosj\u202e.json")),
    "a device of Windows": ("device name 'AUX.json'", lambda f: f.named("members/AUX.json")),
    "an alternate stream": ("Windows forbids", lambda f: f.named("plans.json:x.json")),
    "a trailing dot": ("the path part 'a.'", lambda f: f.named("a./x.json")),
    "an empty path part": ("the path part ''", lambda f: f.named("a//x.json")),
    "a very long name": ("a path of 305 characters", lambda f: f.named("a" * 300 + ".json")),
    "a very deep name": ("13 parts", lambda f: f.named("a/" * 12 + "x.json")),
    "a name that is not UTF-8": (
        "expected UTF-8",
        lambda f: raw_zip([*f.entries(), RawEntry(name=b"\xff\xfe.json", data=b"{}")]),
    ),
    "an ending for pickles": (r"the ending '\.pkl'", lambda f: f.named("members/0/w.pkl")),
    "an ending for code": (r"the ending '\.py'", lambda f: f.named("members/0/w.json.py")),
    # kinds of entries
    "a symbolic link": ("a symbolic link", lambda f: f.first(attributes=0o120777 << 16)),
    "a pipe": ("folder, device or pipe", lambda f: f.first(attributes=0o010644 << 16)),
    "a folder under a file's name": ("folder, device or pipe", lambda f: f.first(attributes=0x10)),
    "a folder": ("a folder", lambda f: f.named("members/")),
    "an encrypted entry": ("encrypted", lambda f: f.first(flags=0x1)),
    "an entry whose size follows it": ("the flags 0x0008", lambda f: f.first(flags=0x8)),
    "an unknown compression": ("compression method 99", lambda f: f.first(method=99)),
    "a bomb": ("compression method 8", bomb),
    "extra fields": ("extra fields", lambda f: f.first(extra=b"up\x05\0\x01\0\0\0\0")),
    "a comment on an entry": ("extra fields, a comment", lambda f: f.first(comment=b"x")),
    "two sizes": ("bytes said to become", lambda f: f.first(size=7)),
    "a size beyond the file": ("overlapping entries: it begins", shrunken),
    "another name before the bytes": ("contradicts", lambda f: f.first(local_name=b"../../x.md")),
    "overlapping entries": ("overlapping entries", overlap),
    "hidden bytes between entries": ("hidden bytes", lambda f: f.first(gap=b"payload")),
    "another checksum": ("of the checksum", lambda f: f.first(crc=1)),
    "too many entries": (
        f"at most {MAX_ENTRIES} files",
        lambda f: raw_zip([RawEntry(name=b"a.md", data=b"")] * (MAX_ENTRIES + 1)),
    ),
    # twice the same
    "a name twice": (
        "the same name",
        lambda f: raw_zip([*f.entries(), RawEntry(name=b"plans.json", data=b"{}")]),
    ),
    "a name twice but for case": ("the same name", lambda f: f.named("PLANS.json")),
    "a name twice but for accents' spelling": (
        "the same name",
        lambda f: f.archive({"caf\u00e9.json": b"{}", "cafe\u0301.json": b"{}"}),
    ),
    "a file as a folder": ("used as a folder", lambda f: f.named("plans.json/x.json")),
    # the manifest
    "no manifest": ("no manifest.json", lambda f: f.archive({"manifest.json": None})),
    "a huge manifest": (
        f"at most {MAX_MANIFEST_BYTES}",
        lambda f: f.archive({"manifest.json": b" " * (MAX_MANIFEST_BYTES + 1)}),
    ),
    "a manifest that is not JSON": ("cannot be read", lambda f: f.archive({"manifest.json": b"{"})),
    "a manifest that is not UTF-8": (
        "cannot be read",
        lambda f: f.archive({"manifest.json": b'{"format": "\xff"}'}),
    ),
    "a manifest without end": (
        "cannot be read",
        lambda f: f.archive({"manifest.json": b"[" * 10**6}),
    ),
    "a key twice": (
        "the key 'format' repeats",
        lambda f: f.archive({"manifest.json": b'{"format": 1, "format": 2}'}),
    ),
    "a manifest that is a list": ("the format None", lambda f: f.archive({"manifest.json": b"[]"})),
    "another format": (
        "the format 'segduet-bundle-2'",
        lambda f: f.archive(format="segduet-bundle-2"),
    ),
    "an unknown key": ("run_on_load", lambda f: f.archive(run_on_load="os.system")),
    "a terminal's orders in the manifest": (
        "control characters",
        lambda f: f.archive(segduet="0.1\x1b[2J"),
    ),
    "a manifest that lists no files": ("does not name", lambda f: f.archive(files={})),
    "an entry the manifest does not name": (
        "does not name",
        lambda f: raw_zip([*f.entries(), RawEntry(name=b"extra.md", data=b"")]),
    ),
    "a file that is not there": (
        "no such file",
        lambda f: raw_zip([e for e in f.entries() if e.name != BIN.encode()]),
    ),
    "another hash": ("the hash", listing_changed(sha256="0" * 64)),
    "no hash": ("sha256", listing_changed(sha256="md5")),
    "another length": ("32 bytes; expected 31", listing_changed(bytes=31)),
    # what the records say
    "a member's file outside": (
        "members.0: .* file beside it",
        member_changed(windows_file="../x.xml"),
    ),
    "a member's file that is missing": (
        "no 'members/0/y.xml'",
        member_changed(windows_file="y.xml"),
    ),
    "a member without members": ("members", lambda f: f.archive(members=[])),
    "a member named like a path": (
        "members.0.name",
        lambda f: f.archive(
            members=[{"name": "../0", "network": network().model_dump(mode="json")}]
        ),
    ),
    "a configuration that is not planned": ("'2d'", lambda f: f.archive(configuration="2d")),
    "mirror axes of another dimension": ("mirror_axes", lambda f: f.archive(mirror_axes=[3])),
    "a plan without configurations": (
        "plans.json, dataset_name",
        lambda f: f.archive({"plans.json": b'{"configurations": {}}'}),
    ),
    "a file ending that is a path": (
        "the file ending '/../../x'",
        lambda f: f.archive(
            {"dataset.json": f.files["dataset.json"].replace(b'".nii.gz"', b'"/../../x"')}
        ),
    ),
    "a configuration that inherits from a list": (
        "cannot be followed",
        lambda f: f.archive(
            {
                "plans.json": f.files["plans.json"].replace(
                    b'"batch_size"', b'"inherits_from": [1], "b"'
                )
            }
        ),
    ),
    "weights at a number without end": (
        "weights at '9999",
        lambda f: f.archive({XML: GRAPH.replace(b'offset="0"', b'offset="' + b"9" * 5000 + b'"')}),
    ),
    "labels without background": (
        "'background'",
        lambda f: f.archive(
            {"dataset.json": f.files["dataset.json"].replace(b'"background"', b'"other"')}
        ),
    ),
    "a coarse bundle of other files": ("other files than the outer", coarse_with_other_files),
    # contents
    "a pickle as weights": (
        "a pickle, renamed",
        lambda f: f.archive({BIN: pickle.dumps(PAYLOAD, protocol=4)}),
    ),
    "an old pickle as weights": (
        "a pickle, renamed",
        lambda f: f.archive({BIN: pickle.dumps(PAYLOAD, protocol=2)}),
    ),
    "a pickle as a network": (
        "a pickle, renamed",
        lambda f: f.archive({"members/0/w.onnx": pickle.dumps(PAYLOAD, protocol=5)}),
    ),
    "a checkpoint of PyTorch as safetensors": (
        "a zip archive",
        lambda f: f.archive({TENSORS: zip_of_pickles()}),
    ),
    "a library as weights": ("a program", lambda f: f.archive({BIN: b"\x7fELF" + WEIGHTS})),
    "a script as a card": ("a script", lambda f: f.archive({"MODEL_CARD.md": b"#!/bin/sh\n"})),
    "a terminal's orders in the card": (
        "the control character",
        lambda f: f.archive({"MODEL_CARD.md": b"\x1b]0;x\x07"}),
    ),
    "text as JSON": ("expected JSON", lambda f: f.archive({"plans.json": b"import os"})),
    "JSON without end": ("expected JSON", lambda f: f.archive({"plans.json": b"[" * 10**5})),
    "a safetensors header that is too long": (
        "a header said to have",
        lambda f: f.archive({TENSORS: b"\xff" * 7 + b"\0" + b"{}"}),
    ),
    "tensors beyond the file": (
        "tensors of 400 bytes",
        lambda f: f.archive(
            {TENSORS: tensors(b'{"w":{"dtype":"F32","shape":[100],"data_offsets":[0,400]}}')}
        ),
    ),
    "tensors one upon the other": (
        "where 4 is due",
        lambda f: f.archive(
            {TENSORS: tensors(b'{"a":{"data_offsets":[0,4]},"b":{"data_offsets":[0,4]}}', b"1234")}
        ),
    ),
    "a document type": (
        "a DOCTYPE",
        lambda f: f.archive(
            {XML: graph_with(b'<!DOCTYPE net [<!ENTITY x SYSTEM "/etc/passwd">]>')}
        ),
    ),
    "a document type in another encoding": (
        "no readable XML|encoding",
        lambda f: f.archive(
            {XML: "<?xml version='1.0' encoding='utf-16'?><!DOCTYPE net><net/>".encode("utf-16")}
        ),
    ),
    "a document in Latin-1": (
        "the encoding 'latin-1'",
        lambda f: f.archive({XML: b"<?xml version='1.0' encoding='latin-1'?><net/>"}),
    ),
    "a processing instruction": (
        "processing instruction",
        lambda f: f.archive({XML: graph_with(b'<?xml-stylesheet href="http://x"?>')}),
    ),
    "an inclusion": (
        "'xi:include'",
        lambda f: f.archive({XML: b'<net><xi:include href="/etc/passwd"/></net>'}),
    ),
    "a page as a graph": ("a document", lambda f: f.archive({XML: b"<html></html>"})),
    "weights of a graph elsewhere": (
        "outside of the bundle",
        lambda f: f.archive({XML: GRAPH.replace(b'"f32"', b'"f32" file="../../w.bin"')}),
    ),
    "weights of a graph at an absolute path": (
        "outside of the bundle",
        lambda f: f.archive({XML: GRAPH.replace(b'"f32"', b'"f32" file="/etc/passwd"')}),
    ),
    "weights beyond their file": (
        "weights at '0' of '33' bytes",
        lambda f: f.archive({XML: GRAPH.replace(b'size="32"', b'size="33"')}),
    ),
    "external data above": (
        r"external data in '\.\./\.\./etc/passwd'",
        lambda f: f.archive({"members/0/w.onnx": onnx_with_external_data("../../etc/passwd")}),
    ),
    "external data at an absolute path": (
        "external data in '/etc/passwd'",
        lambda f: f.archive({"members/0/w.onnx": onnx_with_external_data("/etc/passwd")}),
    ),
    "external data that are not there": (
        r"external data in 'w\.data'",
        lambda f: f.archive({"members/0/w.onnx": onnx_with_external_data("w.data")}),
    ),
    "a foreign compiled graph": (
        "EPContext",
        lambda f: f.archive(
            {"members/0/w.onnx": field(7, field(1, field(4, b"EPContext")))},
        ),
    ),
    "a training graph": (
        "a graph for training",
        lambda f: f.archive({"members/0/w.onnx": field(20, b"")}),
    ),
    "text as a network": (
        "expected an ONNX network",
        lambda f: f.archive({"members/0/w.onnx": b"not a network"}),
    ),
    "a network without a graph": (
        "no graph in it",
        lambda f: f.archive({"members/0/w.onnx": b"\x08\x08"}),
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_for_its_own_reason(
    kind: str, forge: Forge, tmp_path: Path
) -> None:
    """B20: one message, exit code 2, and nothing written, not even a temporary folder."""
    reason, make = HOSTILE[kind]
    archive = tmp_path / "received" / "model.zip"
    archive.parent.mkdir()
    archive.write_bytes(make(forge))
    (tmp_path / "home").mkdir()
    with pytest.raises(DataError, match=reason) as refusal:
        open_bundle_archive(archive, tmp_path / "home" / "bundle")
    assert refusal.value.exit_code == 2
    assert str(refusal.value).isprintable()
    assert "model.zip" in refusal.value.where
    assert list((tmp_path / "home").iterdir()) == []
    assert list(archive.parent.iterdir()) == [archive]
    with pytest.raises(DataError, match=reason):
        read_bundle_manifest(archive)


def test_the_sound_archive_behind_all_these_is_opened(forge: Forge, tmp_path: Path) -> None:
    """Or the reasons above would prove nothing; so is one with external data in the bundle."""
    (tmp_path / "a.zip").write_bytes(forge.archive())
    assert open_bundle_archive(tmp_path / "a.zip", tmp_path / "a").tasks
    harmless = onnx_with_external_data("windows.bin")
    (tmp_path / "b.zip").write_bytes(forge.archive({"members/0/w.onnx": harmless}))
    assert open_bundle_archive(tmp_path / "b.zip", tmp_path / "b").tasks
    coarse = {f"coarse/{name}": content for name, content in forge.files.items()}
    (tmp_path / "c.zip").write_bytes(forge.archive(coarse, coarse="coarse"))
    assert open_bundle_archive(tmp_path / "c.zip", tmp_path / "c").coarse is not None


def test_more_bytes_than_the_limit_are_refused_unread(tmp_path: Path) -> None:
    """A sparse file of 4.1 GB, which takes no room and would be read for long."""
    size = 4_100_000_000
    whole = raw_zip([RawEntry(name=b"a.bin", data=b"", size=size, stored=size, crc=0)])
    local, rest = whole[:35], whole[35:]
    archive = tmp_path / "model.zip"
    with archive.open("wb") as stream:
        stream.write(local)
        stream.seek(size, io.SEEK_CUR)
        end = rest[:-6] + struct.pack("<L", 35 + size) + rest[-2:]
        stream.write(end)
    with pytest.raises(DataError, match="4100000000 bytes in all; expected at most 4000000000"):
        read_bundle_manifest(archive)


def test_a_missing_archive_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        open_bundle_archive(tmp_path / "absent.zip", tmp_path / "new")


def test_a_coarse_bundle_inside_a_coarse_one_is_refused(tmp_path: Path) -> None:
    from segduet.inference.bundles.writing import BundleExtras

    write_sound(tmp_path / "coarse" / "coarse")
    write_sound(tmp_path / "coarse", extras=BundleExtras(coarse="coarse"))
    with pytest.raises(DataError, match="a coarse bundle once more"):
        write_sound(tmp_path, extras=BundleExtras(coarse="coarse"))


@given(data=st.data())
def test_changed_bytes_are_refused_or_change_nothing(
    data: st.DataObject, forge: Forge, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """B20: bytes changed, taken out or put in anywhere give our error or the same bundle."""
    good = forge.archive()
    start = data.draw(st.integers(0, len(good)))
    length = data.draw(st.integers(0, 8))
    put = data.draw(st.one_of(st.just(b""), st.binary(max_size=8)))
    folder = tmp_path_factory.mktemp("changed")
    (folder / "model.zip").write_bytes(good[:start] + put + good[start + length :])
    try:
        extract_archive(folder / "model.zip", folder / "new")
    except DataError:
        assert not (folder / "new").exists()
        return
    found = {
        path.relative_to(folder / "new").as_posix(): path.read_bytes()
        for path in (folder / "new").rglob("*")
        if path.is_file()
    }
    assert found == {entry.name.decode(): entry.data for entry in forge.entries()}


@given(start=st.integers(0, 400), put=st.binary(min_size=1, max_size=12))
def test_a_damaged_directory_never_gives_another_error(
    start: int, put: bytes, forge: Forge, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same at the archive's end, where its structure is."""
    good = bytearray(forge.archive())
    position = len(good) - min(start, len(good))
    good[position : position + len(put)] = put
    archive = tmp_path_factory.mktemp("damaged") / "model.zip"
    archive.write_bytes(bytes(good))
    try:
        manifest = read_bundle_manifest(archive)
    except DataError:
        return
    assert manifest.source.folder == "model"


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


def entries_of(content: object, path: tuple = ()) -> list[tuple]:
    """Paths to every entry of nested JSON."""
    keys = content if isinstance(content, dict) else range(len(content))
    inner = [(content[key], (*path, key)) for key in keys]
    below = [entries_of(c, p) for c, p in inner if isinstance(c, dict | list)]
    return [p for _, p in inner] + [p for paths in below for p in paths]


@pytest.mark.parametrize("name", ["manifest.json", "plans.json", "dataset.json"])
@given(data=st.data())
def test_records_with_any_value_anywhere_are_refused_or_read(
    data: st.DataObject, name: str, forge: Forge, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """B20: names, lengths and hashes are right; only the checks of the records themselves act."""
    content = json.loads(forge.files[name])
    *way, last = data.draw(st.sampled_from(entries_of(content)))
    place = content
    for key in way:
        place = place[key]
    place[last] = data.draw(ANY_JSON)
    archive = tmp_path_factory.mktemp("record") / "model.zip"
    archive.write_bytes(forge.archive({name: json.dumps(content).encode()}))
    try:
        bundle = open_bundle_archive(archive, archive.parent / "new")
    except (DataError, RequestError):
        assert not (archive.parent / "new").exists()
        return
    assert bundle.configuration.num_spatial_dims == 3
    assert len(bundle.labels.foreground) <= 2
