"""B12, B20: a bundle comes back as it was made, from its folder and from its archive."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from segduet.core.errors import DataError, RequestError, StorageError
from segduet.core.tasks import TaskScale
from segduet.inference.bundles import packing
from segduet.inference.bundles.manifest import (
    BundleMember,
    BundleSource,
    CarriedCalibration,
    parse_manifest,
)
from segduet.inference.bundles.opening import (
    is_bundle,
    open_bundle_archive,
    open_bundle_folder,
    read_bundle_manifest,
)
from segduet.inference.bundles.packing import pack_bundle
from segduet.inference.bundles.writing import BundleExtras
from tiny_bundles import GRAPH, TASK, WEIGHTS, fill, network, write_sound


@pytest.fixture(scope="module")
def archive(sound_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    packed = tmp_path_factory.mktemp("packed") / "model.zip"
    pack_bundle(sound_folder, packed)
    return packed


def test_packed_and_opened_it_has_the_same_record_and_bytes(
    sound_folder: Path, sound_files: dict[str, bytes], archive: Path, tmp_path: Path
) -> None:
    """B20: files bit for bit, records equal, whichever way it is opened."""
    opened = open_bundle_archive(archive, tmp_path / "new" / "bundle")
    for bundle in (opened, open_bundle_folder(sound_folder, verify=True)):
        assert bundle.manifest == parse_manifest(sound_files["manifest.json"], where="here")
        assert bundle.configuration.patch_size == (8, 16, 16)
        assert bundle.description.num_training == 7
        assert bundle.tasks == (TASK,)
        assert bundle.mirror_axes == (0, 1, 2)
        assert [member.name for member in bundle.members] == ["0"]
        assert bundle.labels.foreground == {"organ": (1,), "lesion": (2,)}
        windows = bundle.member_folder(bundle.members[0]) / bundle.members[0].network.windows_file
        assert windows.read_bytes() == GRAPH
        assert windows.with_suffix(".bin").read_bytes() == WEIGHTS
    unpacked = {
        path.relative_to(opened.folder).as_posix(): path.read_bytes()
        for path in opened.folder.rglob("*")
        if path.is_file()
    }
    assert unpacked == sound_files
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["bundle"]


def test_an_archive_depends_on_the_files_alone_and_other_programs_read_it(
    sound_folder: Path, sound_files: dict[str, bytes], archive: Path, tmp_path: Path
) -> None:
    pack_bundle(sound_folder, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        assert {n: opened.read(n) for n in opened.namelist()} == sound_files
        assert {entry.compress_type for entry in opened.infolist()} == {zipfile.ZIP_STORED}


def test_the_manifest_is_read_from_an_archive_without_unpacking(
    archive: Path, sound_files: dict[str, bytes]
) -> None:
    before = sorted(archive.parent.iterdir())
    assert read_bundle_manifest(archive).to_json() == json.loads(sound_files["manifest.json"])
    assert sorted(archive.parent.iterdir()) == before


def test_a_bundle_may_hold_a_coarse_one_and_reports(tmp_path: Path) -> None:
    """The outer archive carries the inner bundle; regressions keep each member's scale."""
    folder = tmp_path / "bundle"
    write_sound(folder / "coarse", mirror_axes=())
    write_sound(
        folder,
        extras=BundleExtras(
            gate={"passed": True, "regions": [{"dice": 0.999}]},
            calibration=CarriedCalibration.of({"subtype": {"temperature": 1.25}}),
            coarse="coarse",
        ),
    )
    pack_bundle(folder, tmp_path / "model.zip")
    opened = open_bundle_archive(tmp_path / "model.zip", tmp_path / "again")
    assert opened.coarse is not None
    assert opened.coarse.mirror_axes == ()
    assert opened.coarse.folder == tmp_path / "again" / "coarse"
    assert opened.manifest.gate == {"passed": True, "regions": [{"dice": 0.999}]}
    assert opened.manifest.calibration is not None
    assert opened.manifest.calibration.content == {"subtype": {"temperature": 1.25}}
    assert open_bundle_folder(folder, verify=True).coarse is not None


def test_a_calibration_that_was_changed_is_refused(tmp_path: Path) -> None:
    """B16, B20: its hash stands beside it."""
    write_sound(
        tmp_path, extras=BundleExtras(calibration=CarriedCalibration.of({"temperature": 1.25}))
    )
    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace("1.25", "1.26"))
    with pytest.raises(DataError, match=r"calibration.*it was changed"):
        open_bundle_folder(tmp_path, verify=False)


def test_members_keep_their_own_scales_and_share_their_questions(tmp_path: Path) -> None:
    scaled = [
        TASK.model_copy(
            update={"kind": "regression", "classes": (), "scale": TaskScale(mean=m, sd=2.0)}
        )
        for m in (10.0, 30.0)
    ]
    fill(tmp_path / "members" / "1")
    write_sound(
        tmp_path,
        members=[
            BundleMember(name=str(i), network=network(tasks=(t,))) for i, t in enumerate(scaled)
        ],
        source=BundleSource(folder="m", weights_sha256={"0": "ab" * 32, "1": "cd" * 32}),
    )
    opened = open_bundle_folder(tmp_path, verify=True)
    assert [m.network.tasks[0].scale.mean for m in opened.members] == [10.0, 30.0]
    assert opened.tasks[0].scale is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"configuration_name": "2d"}, "'2d'"),
        ({"mirror_axes": (0, 0)}, "mirror axes"),
        (
            {"members": [BundleMember(name="0", network=network(windows_file="other.xml"))]},
            "members/0/other.xml",
        ),
        (
            {
                "members": [
                    BundleMember(
                        name="0", network=network(num_spatial_dims=2, total_strides=(4, 4))
                    )
                ]
            },
            "2 dimensions",
        ),
        ({"extras": BundleExtras(coarse="coarse")}, "coarse/manifest.json"),
    ],
)
def test_a_bundle_that_could_not_be_opened_is_not_made(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises((DataError, RequestError), match=message):
        write_sound(tmp_path, **changes)
    assert not (tmp_path / "manifest.json").exists()


def test_a_file_that_does_not_belong_there_is_not_packed(tmp_path: Path) -> None:
    fill(tmp_path / "members" / "1")
    (tmp_path / "members" / "1" / "train.py").write_text("print()")
    with pytest.raises(DataError, match=r"the ending '\.py'"):
        write_sound(tmp_path)


def test_a_folder_is_checked_as_strictly_as_an_archive(tmp_path: Path) -> None:
    """B20: hash, extra file and link, each found when verifying; lengths are always compared."""
    write_sound(tmp_path)
    weights = tmp_path / "members" / "0" / "windows.bin"
    weights.write_bytes(WEIGHTS[::-1])
    assert open_bundle_folder(tmp_path, verify=False).manifest.format == "segduet-bundle-1"
    with pytest.raises(DataError, match="the hash"):
        open_bundle_folder(tmp_path, verify=True)
    weights.write_bytes(WEIGHTS + b"\0")
    with pytest.raises(DataError, match="33 bytes; expected 32"):
        open_bundle_folder(tmp_path, verify=False)
    weights.write_bytes(WEIGHTS)
    (tmp_path / "extra.json").write_text("{}")
    with pytest.raises(DataError, match="does not name"):
        open_bundle_folder(tmp_path, verify=True)
    (tmp_path / "extra.json").unlink()
    (tmp_path / "link.json").symlink_to("/etc/hostname")
    with pytest.raises(DataError, match="symbolic link"):
        open_bundle_folder(tmp_path, verify=True)
    (tmp_path / "link.json").unlink()
    assert open_bundle_folder(tmp_path, verify=True).tasks == (TASK,)


def test_only_files_and_folders_with_a_bundles_manifest_are_bundles(
    archive: Path, sound_folder: Path, tmp_path: Path
) -> None:
    """A run folder has a manifest.json as well, of another kind."""
    assert is_bundle(archive)
    assert is_bundle(sound_folder)
    (tmp_path / "manifest.json").write_text('{"schema_version": 1}')
    assert not is_bundle(tmp_path)
    assert not is_bundle(tmp_path / "absent")


def test_a_folder_that_holds_something_is_not_unpacked_into(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    open_bundle_archive(archive, tmp_path / "empty")
    with pytest.raises(RequestError, match="a new or an empty folder"):
        open_bundle_archive(archive, tmp_path / "empty")


def test_a_full_disk_leaves_nothing(archive: Path, sound_folder: Path, tmp_path: Path) -> None:
    """The operating system refuses the write, as it does when the disk is full."""
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from segduet.inference.bundles.opening import open_bundle_archive\n"
        "from segduet.inference.bundles.packing import pack_bundle\n"
        "from segduet.core.errors import StorageError\n"
        "archive, source, target = map(Path, sys.argv[1:])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "for act in (lambda: open_bundle_archive(archive, target / 'new'),\n"
        "            lambda: pack_bundle(source, target / 'new.zip')):\n"
        "    try:\n        act()\n"
        "    except StorageError as error:\n        assert error.exit_code == 2\n"
        "    else:\n        sys.exit('no error')\n"
    )
    target = tmp_path / "out"
    target.mkdir()
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, str(archive), str(sound_folder), str(target)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(target.iterdir()) == []


def test_an_archive_that_changes_while_it_is_unpacked_is_refused(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the check and the writing somebody swaps the weights."""
    from segduet.inference.bundles import extraction

    changing = tmp_path / "model.zip"
    changing.write_bytes(archive.read_bytes())
    write = extraction._write

    def swap_then_write(content, target):
        changing.write_bytes(archive.read_bytes().replace(WEIGHTS, WEIGHTS[::-1]))
        return write(content, target)

    monkeypatch.setattr(extraction, "_write", swap_then_write)
    with pytest.raises(DataError, match="changed while it was unpacked"):
        open_bundle_archive(changing, tmp_path / "new")
    assert [p.name for p in tmp_path.iterdir()] == ["model.zip"]


def test_a_bundle_too_large_for_an_archive_is_not_packed(
    sound_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "MAX_TOTAL_BYTES", 100)
    with pytest.raises(RequestError, match="at most 4096 files of 100 bytes"):
        pack_bundle(sound_folder, tmp_path / "model.zip")
    monkeypatch.undo()
    with pytest.raises(StorageError):
        pack_bundle(sound_folder, Path("/proc/no/such/model.zip"))
    assert list(tmp_path.iterdir()) == []


def test_bundles_open_without_torch(archive: Path, tmp_path: Path) -> None:
    """B12: nothing of PyTorch, nnU-Net or a runtime is loaded to open and unpack a bundle."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from segduet.inference.bundles.opening import open_bundle_archive\n"
        "from segduet.inference.bundles import packing, writing\n"
        "open_bundle_archive(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "heavy = {'torch', 'nnunetv2', 'openvino', 'onnx', 'onnxruntime', 'numpy.f2py'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(archive), str(tmp_path / "new")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout == "[]\n"
