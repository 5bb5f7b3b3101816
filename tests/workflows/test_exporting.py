"""`segduet export`: B12, B20, B11: what is exported answers as the model, and appears whole."""

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from segduet.core.errors import DataError
from segduet.workflows.models import open_model
from segduet.workflows.python_interface import load

TO_A_FOLDER = ("openvino", "nnunet")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    return tmp_path / "user" / "segduet"


@pytest.fixture
def image(road: Any) -> Path:
    return road.raw / "imagesTr" / "c6_0000.nii.gz"


@pytest.fixture(scope="module")
def bundle(
    road: Any, segduet: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The road's model as one archive for OpenVINO; not to be changed."""
    out = tmp_path_factory.mktemp("bundle") / "model.zip"
    done = segduet("export", road.model, "--to", "bundle", "--format", "openvino", "-o", out)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{out}: ")
    return out


def voxels(path: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def test_a_bundle_answers_as_the_model(
    road: Any, bundle: Path, image: Path, segduet: Callable, tmp_path: Path
) -> None:
    """Both answers; moved elsewhere; unpacked once and then found again."""
    moved = tmp_path / "elsewhere.zip"
    shutil.copy(bundle, moved)
    for out in ("first", "second"):
        done = segduet("predict", moved, image, "--out", tmp_path / out, "--no-tta")
        assert done.code == 0, done.err
        assert "convert" not in done.err
    assert (
        voxels(tmp_path / "first" / "c6.nii.gz") == voxels(road.predictions / "c6.nii.gz")
    ).all()
    said = [
        (tmp_path / o / "predictions.csv").read_text().split(",ok,,") for o in ("first", "second")
    ]
    assert said[0][0] == said[1][0]
    manifest = json.loads((tmp_path / "second" / "manifest.json").read_text())
    assert manifest["arguments"]["model"] == str(moved)
    assert manifest["arguments"]["folds"] == ["0"]
    assert len(list((tmp_path / "user" / "segduet").glob("bundle-*"))) == 1


def test_a_bundle_predicts_without_torch(
    bundle: Path, image: Path, segduet: Callable, tmp_path: Path
) -> None:
    """B12: from the first run on, unpacking included."""
    code = (
        "import sys\nfrom segduet.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n"
        "    print(sorted({'torch', 'nnunetv2'} & set(sys.modules)))\n    raise"
    )
    arguments = ("predict", bundle, image, "--out", tmp_path / "out", "--no-tta")
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_bundle_has_a_record_beside_it_and_a_card_inside(road: Any, bundle: Path) -> None:
    """B20, B23: every file with its hash; what the run says of itself in the model card."""
    record = json.loads(bundle.with_name("model.zip_manifest.json").read_text())
    assert record["arguments"]["model"] == str(road.model)
    assert record["outcome"] == {
        "written": str(bundle),
        "bytes": bundle.stat().st_size,
        "gate": None,  # nothing was lost, so nothing was judged
    }
    with zipfile.ZipFile(bundle) as packed:
        manifest = json.loads(packed.read("manifest.json"))
        assert set(packed.namelist()) == {"manifest.json", *manifest["files"]}
        for name, stored in manifest["files"].items():
            assert hashlib.sha256(packed.read(name)).hexdigest() == stored["sha256"]
        card = packed.read("MODEL_CARD.md").decode()
    weights = hashlib.sha256((road.run / "model.safetensors").read_bytes()).hexdigest()
    assert manifest["source"]["weights_sha256"] == {"fold_0": weights}
    assert "epochs done | 2" in card


def test_an_unpacked_bundle_that_was_damaged_is_unpacked_again(
    bundle: Path, image: Path, segduet: Callable, tmp_path: Path, own_cache: Path
) -> None:
    arguments = ("predict", bundle, image, "--out", tmp_path / "out", "--no-tta")
    assert segduet(*arguments).code == 0
    (weights,) = own_cache.glob("bundle-*/members/fold_0/windows.bin")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4] + b"abcd")
    assert segduet(*arguments).code == 0
    assert weights.read_bytes() == whole


def test_an_exported_folder_is_checked_every_time(
    road: Any, image: Path, segduet: Callable, tmp_path: Path
) -> None:
    """It may come from anywhere: one other byte is one message, and nothing is predicted."""
    out = tmp_path / "converted"
    assert segduet("export", road.model, "--to", "openvino", "--out", out).code == 0
    assert load(out).predict.__self__.choice.engine == "openvino"
    weights = out / "members" / "fold_0" / "windows.bin"
    weights.write_bytes(bytes([weights.read_bytes()[0] ^ 1]) + weights.read_bytes()[1:])
    done = segduet("predict", out, image, "--out", tmp_path / "out")
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert "windows.bin" in done.err
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match=r"windows\.bin"):
        load(out)


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_a_bundle_refuses_an_engine_it_has_no_network_for(
    bundle: Path, image: Path, segduet: Callable, tmp_path: Path, engine: str
) -> None:
    out = tmp_path / "out"
    done = segduet("predict", bundle, image, "--out", out, "--engine", engine, "--device", "cpu")
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert "a model without" in done.err
    assert not out.exists()


@pytest.mark.parametrize("mirrored", [True, False])
def test_stock_nnunet_predicts_with_an_export(
    road: Any,
    segduet: Callable,
    predict_with_nnunet: Callable,
    tmp_path: Path,
    *,
    mirrored: bool,
) -> None:
    """B11: from weights of ours alone, renamed; the masks of the model it was made from."""
    model = tmp_path / road.model.name
    shutil.copytree(road.model, model)
    (model / "fold_0" / "checkpoint_final.pth").unlink()
    out = tmp_path / "any name"
    done = segduet("export", model, "--to", "nnunet", "--out", out)
    assert done.code == 0, done.err
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()) == [
        "dataset.json",
        "fold_0/checkpoint_final.pth",
        "plans.json",
    ]
    images = road.raw / "imagesTr"
    theirs = predict_with_nnunet(out, images, tmp_path / "theirs", mirrored=mirrored)
    ours = tmp_path / "ours"
    tta = () if mirrored else ("--no-tta",)
    assert segduet("predict", model, images, "--out", ours, *tta).code == 0
    pairs = [(voxels(p), voxels(theirs / p.name)) for p in ours.glob("*.nii.gz")]
    same = sum(np.count_nonzero(a == b) for a, b in pairs) / sum(a.size for a, _ in pairs)
    assert len(pairs) == 8
    assert same >= 0.999
    assert open_model(out).configuration_name == "3d_fullres"


@pytest.mark.parametrize("to", TO_A_FOLDER)
def test_what_is_there_is_kept_unless_told_otherwise(
    road: Any, segduet: Callable, tmp_path: Path, to: str
) -> None:
    out = tmp_path / "out"
    export = ("export", road.model, "--to", to, "--out", out)
    assert segduet(*export).code == 0
    (out / "mine.txt").write_text("kept")
    refused = segduet(*export)
    assert refused.code == 2
    assert "Choose another, or replace an earlier export with --overwrite" in refused.err
    assert (out / "mine.txt").exists()
    assert segduet(*export, "--overwrite").code == 0
    assert not (out / "mine.txt").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "out_manifest.json"]


def test_overwriting_something_else_is_refused(
    road: Any, segduet: Callable, tmp_path: Path
) -> None:
    """A folder of somebody's own would be removed with all that is in it."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    done = segduet(
        *("export", road.model, "--to", "nnunet", "--out", tmp_path / "thesis", "--overwrite")
    )
    assert done.code == 2
    assert "no thesis_manifest.json beside it" in done.err
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "years of work"


@pytest.mark.parametrize("to", ["bundle", "openvino"])
def test_a_failed_export_leaves_nothing_and_keeps_the_earlier_one(
    road: Any, segduet: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    out = tmp_path / "out"
    kind = ("--format", "openvino") if to == "bundle" else ()
    export = ("export", road.model, "--to", to, *kind, "--out", out)
    assert segduet(*export).code == 0
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}

    def fail(*_arguments: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("segduet.workflows.conversion.write_bundle_folder", fail)
    done = segduet(*export, "--overwrite")
    assert done.code == 2
    assert len([line for line in done.err.splitlines() if line.startswith("error:")]) == 1
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_network_that_nnunet_does_not_know_is_refused(
    road: Any, segduet: Callable, tiny_training: tuple[str, ...], tmp_path: Path
) -> None:
    """One that only classifies has no masks to give."""
    mine = road.copy(tmp_path / "road")
    done = segduet(
        *("train", "tiny", *tiny_training, "--name", "alone", "--set", "answers=classification"),
        *("--set", "head.kind=bottleneck", "--set", "validation.final=false"),
        *("--data-root", mine.data, "--json"),
    )
    assert done.code == 0, done.err
    out = tmp_path / "out"
    refused = segduet("export", done.json()["run_folder"], "--to", "nnunet", "--out", out)
    assert refused.code == 2
    assert "cannot build from its plans, or one without masks" in refused.err
    assert not out.exists()


def test_a_format_is_of_bundles_only(road: Any, segduet: Callable, tmp_path: Path) -> None:
    done = segduet(
        *("export", road.model, "--to", "openvino", "--format", "onnx", "--out", tmp_path / "out")
    )
    assert done.code == 2
    assert "Leave --format out" in done.err


@pytest.mark.parametrize(
    ("to", "package"), [("openvino", "openvino"), ("onnx", "onnxscript"), ("nnunet", "torch")]
)
def test_what_is_not_installed_is_one_message(
    road: Any,
    segduet: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    to: str,
    package: str,
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *a: None if name == package else find_spec(name, *a),
    )
    done = segduet("export", road.model, "--to", to, "--out", tmp_path / "out")
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert (done.code, len(errors)) == (2, 1)
    assert "nstall" in errors[0]
    assert package.replace("torch", "PyTorch") in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_the_command_and_python_offer_the_same() -> None:
    from segduet.cli.exporting import BundleFormat, Target
    from segduet.core.runtime import RuntimeFormat
    from segduet.workflows.exporting import ExportTarget

    assert [str(v) for v in Target] == [str(v) for v in ExportTarget]
    assert [str(v) for v in BundleFormat] == [str(v) for v in RuntimeFormat]
