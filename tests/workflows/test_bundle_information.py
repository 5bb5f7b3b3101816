"""`segduet info BUNDLE`: the record of a bundle, for people and for programs."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from segduet.core.errors import DataError
from segduet.inference.bundles.packing import pack_bundle
from segduet.workflows.information import describe_bundle
from tiny_bundles import Forge, write_sound


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `bundle` and `model.zip`, the same packed."""
    folder = tmp_path_factory.mktemp("info")
    write_sound(folder / "bundle")
    pack_bundle(folder / "bundle", folder / "model.zip")
    return folder


def test_info_prints_a_bundles_record(segduet: Callable, packed: Path) -> None:
    """F94: the same from archive and folder."""
    manifest = json.loads((packed / "bundle" / "manifest.json").read_text())
    for name in ("bundle", "model.zip"):
        assert segduet("info", packed / name, "--json").json() == manifest
        told = segduet("info", packed / name).out
        assert "bundle of model, 3d_fullres, made by segduet" in told
        assert "network 0: openvino, fp32, answers masks and subtype, with the weights" in told
        assert "gate: none" in told
        assert "8 files" in told
        assert "every hash checked" in told


def test_info_neither_unpacks_nor_loads_torch(packed: Path, tmp_path: Path) -> None:
    """B12, B20: temporary folders included."""
    code = (
        "import sys; sys.argv = ['segduet', 'info', sys.argv[1], '--json']\n"
        "import atexit; atexit.register(lambda: print(sorted({'torch', 'nnunetv2', 'onnxruntime',"
        " 'openvino'} & set(sys.modules)), file=sys.stderr))\n"
        "import runpy; runpy.run_module('segduet', run_name='__main__')"
    )
    before = sorted(packed.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", code, str(packed / "model.zip")],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["format"] == "segduet-bundle-1"
    assert done.stderr == "[]\n"
    assert sorted(packed.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


def test_info_refuses_a_damaged_bundle_with_one_message(
    segduet: Callable, packed: Path, tmp_path: Path
) -> None:
    """B20: exit code 2, on the one line that names the entry."""
    content = (packed / "model.zip").read_bytes()
    (tmp_path / "model.zip").write_bytes(content.replace(b"<layers>", b"<lagers>"))
    with pytest.raises(DataError, match="checksum"):
        describe_bundle(tmp_path / "model.zip")
    finished = segduet("info", tmp_path / "model.zip")
    assert finished.code == 2
    assert "members/0/heads.xml" in finished.err
    assert "Traceback" not in finished.err


def test_a_hostile_bundle_cannot_write_to_the_terminal(
    segduet: Callable, packed: Path, tmp_path: Path
) -> None:
    files = {
        path.relative_to(packed / "bundle").as_posix(): path.read_bytes()
        for path in (packed / "bundle").rglob("*")
        if path.is_file()
    }
    member = json.loads(files["manifest.json"])["members"][0]
    member["network"]["tasks"][0]["classes"][0] = "\x1b]0;owned\x07"
    forged = Forge(files).archive(members=[member])
    (tmp_path / "model.zip").write_bytes(forged)
    finished = segduet("info", tmp_path / "model.zip")
    assert finished.code == 2
    assert "\x1b]0" not in finished.err + finished.out
