"""F71, B12: conversions are made once, kept by content, and never trusted when damaged."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segduet.core.errors import RequestError, StorageError
from segduet.core.runtime import RuntimeFormat
from segduet.workflows.conversion_cache import ConversionCache, conversion_name, user_cache
from segduet.workflows.converted_models import kept_formats
from segduet.workflows.models import open_model
from segduet.workflows.python_interface import load
from segduet.workflows.remembered_hashes import RememberedHashes

#: Predicts through the command line in a fresh process and tells which of the heavy ones it loaded.
SCRIPT = """
import sys
from segduet.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as ending:
    heavy = {"torch", "nnunetv2", "batchgenerators", "batchgeneratorsv2", "onnx", "nncf"}
    heavy |= {"SimpleITK", "PIL", "tifffile", "matplotlib", "rich", "absl"}
    found = heavy & {name.split(".")[0] for name in sys.modules}
    bundles = "segduet.inference.bundles"
    unneeded = {f"{bundles}.extraction", f"{bundles}.contents", "segduet.cli.data"}
    scipy = {"scipy.ndimage", "scipy.special", "scipy.stats"}  # nibabel takes its top alone
    found |= {"openvino.tools.ovc", *unneeded, *scipy} & set(sys.modules)
    print(sorted(found), file=sys.stderr)
    raise
"""


@pytest.fixture
def mine(road: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A copy of the road whose model has no conversion yet; the user's cache folder is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    copy = road.copy(tmp_path / "road")
    for kept in (copy.model / ".segduet").glob("*"):
        shutil.rmtree(kept) if kept.is_dir() else kept.unlink()
    return copy


@pytest.fixture
def predict(mine: Any, segduet: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Predicts one case with OpenVINO: `predict(*options)`."""

    def run(*options: object) -> Any:
        image = mine.raw / "imagesTr" / "c6_0000.nii.gz"
        arguments = ("--out", tmp_path / "out", "--no-tta", "--engine", "openvino")
        return segduet("predict", mine.model, image, *arguments, *options)

    return run


def converted_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("openvino-*"))


def masks(folder: Path) -> bytes:
    return (folder / "c6.nii.gz").read_bytes()


def test_a_conversion_is_announced_and_made_once(
    mine: Any, predict: Callable, tmp_path: Path
) -> None:
    first = predict()
    assert first.code == 0, first.err
    (kept,) = converted_in(mine.model / ".segduet")
    told = first.err.splitlines()
    assert [line.split()[1] for line in told] == ["converting:", "converted:", "predict:"]
    assert str(kept) in told[1]
    mask, changed = masks(tmp_path / "out"), (kept / "manifest.json").stat().st_mtime_ns
    second = predict()
    assert [line.split()[1] for line in second.err.splitlines()] == ["predict:"]
    assert (kept / "manifest.json").stat().st_mtime_ns == changed
    assert masks(tmp_path / "out") == mask
    assert not (tmp_path / "user").exists()


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_a_kept_conversion_predicts_without_torch(
    road: Any, segduet: Callable, conversions: Path, tmp_path: Path, engine: str
) -> None:
    """B12: no torch, nnunetv2, batchgenerators; nor what makes a start long and is not needed."""
    image = road.raw / "imagesTr" / "c6_0000.nii.gz"
    arguments = ["predict", road.model, image, "--no-tta", "--engine", engine]
    arguments += ["--cache", conversions, "--json", "--out"]
    assert segduet(*arguments, tmp_path / "first").code == 0
    again = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments), str(tmp_path / "second")],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert again.stderr.splitlines()[-1] == "[]"
    assert json.loads(again.stdout)["engine"]["name"] == engine
    assert masks(tmp_path / "first") == masks(tmp_path / "second")


def test_changed_weights_are_converted_anew(mine: Any, predict: Callable) -> None:
    """The name of a conversion follows from the content, not from the path or the time."""
    assert predict().code == 0
    weights = mine.run / "model.safetensors"
    content = bytearray(weights.read_bytes())
    weights.write_bytes(bytes(content))  # another time, the same bytes
    assert "converting" not in predict().err
    content[-2] ^= 1  # of a float, but its exponent
    weights.write_bytes(bytes(content))
    assert "converting" in predict().err
    assert len(converted_in(mine.model / ".segduet")) == 2


@pytest.mark.parametrize("damage", ["changed", "cut", "removed"])
def test_a_damaged_conversion_is_made_again_with_a_warning(
    mine: Any, predict: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    assert predict().code == 0
    mask = masks(tmp_path / "out")
    (kept,) = converted_in(mine.model / ".segduet")
    weights = kept / "members" / "fold_0" / "windows.bin"
    whole = weights.read_bytes()
    if damage == "removed":
        weights.unlink()
    else:
        cut = whole[:-8] if damage == "cut" else bytes([whole[0] ^ 255]) + whole[1:]
        weights.write_bytes(cut)
    again = predict()
    assert again.code == 0, again.err
    assert "converting" in again.err
    assert f"the conversion in {kept} was damaged" in caplog.text
    (warning,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["warnings"]
    assert "was damaged and is made again" in warning
    assert weights.read_bytes() == whole
    assert masks(tmp_path / "out") == mask
    assert [p.name for p in kept.parent.glob(".*")] == []


def test_a_model_folder_that_cannot_be_written_leaves_it_to_the_users_cache(
    mine: Any, predict: Callable, tmp_path: Path
) -> None:
    (mine.model / ".segduet").rmdir()
    (mine.model / ".segduet").write_text("no folder, so nothing can be made in it")
    assert predict().code == 0
    assert len(converted_in(tmp_path / "user" / "segduet")) == 1
    assert "converting" not in predict().err


def test_a_chosen_cache_folder_is_the_only_one(
    mine: Any, predict: Callable, tmp_path: Path
) -> None:
    assert predict("--cache", tmp_path / "chosen").code == 0
    assert len(converted_in(tmp_path / "chosen")) == 1
    assert converted_in(mine.model / ".segduet") == []
    assert not (tmp_path / "user").exists()
    (tmp_path / "file").write_text("")
    refused = predict("--cache", tmp_path / "file")
    assert refused.code == 2
    assert "no folder to keep them in" in refused.err
    assert "Choose one with --cache" in refused.err


def test_a_kept_conversion_serves_where_nothing_can_be_written(
    mine: Any, predict: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is shared read-only; only a new conversion would need a place."""
    assert predict().code == 0

    def refuse(*_arguments: object, **_named: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("segduet.workflows.conversion_cache.tempfile.TemporaryFile", refuse)
    again = predict()
    assert again.code == 0, again.err
    assert "converting" not in again.err
    shutil.rmtree(mine.model / ".segduet")
    refused = predict()
    assert refused.code == 2
    assert "Permission denied" in refused.err


def test_a_conversion_that_failed_leaves_nothing(
    mine: Any, predict: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_named: object) -> None:
        raise RequestError("layer", found="a", expected="b", remedy="C.")

    monkeypatch.setattr("segduet.compression.openvino_conversion.convert_to_openvino", fail)
    assert predict().code == 2
    assert list((mine.model / ".segduet").glob("*openvino*")) == []


def test_two_at_once_do_not_clash(tmp_path: Path) -> None:
    """Both fill a folder of their own; the first to be done wins, the other takes what it made."""
    cache = ConversionCache.of(tmp_path)
    both_at_it, made = threading.Barrier(2), []

    def fill(target: Path) -> None:
        both_at_it.wait(timeout=60)
        (target / "file").write_text("content")

    workers = [
        threading.Thread(target=lambda: made.append(cache.make("name", fill))) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert made == [tmp_path / "name"] * 2
    assert [p.name for p in tmp_path.rglob("*")] == ["name", "file"]


def test_a_conversion_that_cannot_be_finished_is_an_error(tmp_path: Path) -> None:
    def fill(_target: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left"):
        ConversionCache.of(tmp_path).make("name", fill)
    assert list(tmp_path.iterdir()) == []


def test_the_users_cache_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG Base Directory Specification: a relative path is to be ignored."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert user_cache() == Path("/somewhere/segduet")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/someone")
    assert user_cache() == Path("/home/someone/.cache/segduet")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_cache() == Path("/home/someone/.cache/segduet")


def test_a_conversion_is_named_by_everything_it_is_made_from(mine: Any) -> None:
    folder = open_model(mine.model)
    hashes = RememberedHashes()

    def name(runtime: RuntimeFormat = RuntimeFormat.OPENVINO) -> str:
        return conversion_name(open_model(mine.model), runtime, hashes)

    seen = {name(), name(RuntimeFormat.ONNX)}
    assert len(seen) == 2
    assert name() in seen
    for file in ("plans.json", "dataset.json"):
        content = json.loads((folder.folder / file).read_text())
        (folder.folder / file).write_text(json.dumps(content))  # other white space
        seen.add(name())
    assert len(seen) == 4
    assert kept_formats(folder, ConversionCache.beside(folder.folder, None)) == frozenset()


def test_hashes_are_remembered_until_a_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SHA-256 of "a" and "b", known numbers; a file that did not change is not read again."""
    file, store = tmp_path / "file", tmp_path / "store"
    of_a = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    of_b = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
    file.write_text("a")
    hashes = RememberedHashes(store)
    assert hashes.sha256(file) == of_a
    hashes.save(store)
    monkeypatch.setattr("segduet.workflows.remembered_hashes.sha256", lambda _: "read again")
    assert RememberedHashes(store).sha256(file) == of_a
    assert RememberedHashes().sha256(file) == "read again"
    monkeypatch.undo()
    times = file.stat()
    file.write_text("b")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # as if nothing had happened
    assert RememberedHashes(store).sha256(file) == of_b


@pytest.mark.parametrize("record", ["", "[]", "7", '{"FILE": 7}', '{"FILE": [1, 2, 3, 4]}'])
def test_a_damaged_record_of_hashes_is_made_anew(tmp_path: Path, record: str) -> None:
    file = tmp_path / "file"
    file.write_text("a")
    (tmp_path / "hashes.json").write_text(record.replace("FILE", str(file)))
    assert RememberedHashes(tmp_path).sha256(file).startswith("ca978112")


def test_a_bundle_is_no_cache_for_folds(road: Any, segduet: Callable, tmp_path: Path) -> None:
    """One message: folds are chosen when exporting."""
    out = tmp_path / "model.zip"
    assert (
        segduet("export", road.model, "--to", "bundle", "--format", "openvino", "-o", out).code == 0
    )
    with pytest.raises(RequestError, match="a choice of folds or checkpoints for a bundle"):
        load(out, folds=["0"], cache=tmp_path / "cache")
