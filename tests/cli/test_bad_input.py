"""Every kind of bad input: one clear message, the right exit code, nothing half-written.

The list is that of the project's first issue; `check` reports the same faults as findings (3).
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Change = Callable[[Path], None]


def replace(text_file: Path, old: str, new: str) -> None:
    """Changes a text file that must hold `old`."""
    text = text_file.read_text()
    assert old in text
    text_file.write_text(text.replace(old, new))


def with_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """Puts a value into one voxel, in a type that can hold it."""

    def change(array: np.ndarray) -> np.ndarray:
        changed = array.astype(np.float32)
        changed[0, 0, 0] = value
        return changed

    return change


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A user's folder and the data root it is imported into."""

    table: Path
    data: Path
    segduet: Callable[..., Any]

    def import_(self) -> Any:
        """Runs the import."""
        arguments = ("table", self.table, "--name", "tiny", "--data-root", self.data)
        return self.segduet("import", *arguments, "--workers", 1)


@pytest.fixture
def users(table_folder: Path, tmp_path: Path, segduet: Callable) -> Folder:
    return Folder(table=table_folder, data=tmp_path / "data", segduet=segduet)


# import ------------------------------------------------------------------------------------------


def test_importing_an_unreadable_image(
    users: Folder, refused: Callable, contents: Callable
) -> None:
    broken = users.table / "images" / "c3.nii.gz"
    broken.write_bytes(broken.read_bytes()[:900])
    refused(users.import_(), "c3", "cut short", "Copy it again")
    assert contents(users.data) == {}


def test_importing_a_mask_with_a_value_between_labels(
    users: Folder, refused: Callable, contents: Callable, rewrite: Callable
) -> None:
    """F04."""
    rewrite(users.table / "masks" / "c2.nii.gz", with_value(1.4))
    refused(users.import_(), "c2", "1.4", "within 0.001")
    assert contents(users.data) == {}


def test_importing_a_mask_of_another_shape(
    users: Folder, refused: Callable, contents: Callable, rewrite: Callable
) -> None:
    rewrite(users.table / "masks" / "c5.nii.gz", lambda array: array[:, :, 1:])
    refused(users.import_(), "case 'c5', mask", "another shape", "(8, 20, 19)", "(8, 20, 20)")
    assert contents(users.data) == {}


def test_importing_a_mask_of_another_spacing(
    users: Folder, refused: Callable, contents: Callable, rewrite: Callable
) -> None:
    rewrite(users.table / "masks" / "c5.nii.gz", lambda array: array, spacing=(1.0, 1.5, 2.0))
    refused(users.import_(), "case 'c5', mask", "another spacing", "(2, 1.5, 1) mm", "(2, 1, 1) mm")
    assert contents(users.data) == {}


def test_importing_an_image_without_a_row(
    users: Folder, refused: Callable, contents: Callable
) -> None:
    """B01."""
    replace(users.table / "cases.csv", "c7,bright,p7,val\n", "")
    refused(users.import_(), "images/c7.nii.gz", "without a row", "Add the row")
    assert contents(users.data) == {}


def test_importing_a_row_without_an_image(
    users: Folder, refused: Callable, contents: Callable
) -> None:
    (users.table / "images" / "c1.nii.gz").unlink()
    refused(users.import_(), "case 'c1'", "a row without an image", "images/c1<ending>")
    assert contents(users.data) == {}


def test_importing_an_image_without_a_mask(
    users: Folder, refused: Callable, contents: Callable
) -> None:
    (users.table / "masks" / "c1.nii.gz").unlink()
    refused(users.import_(), "case 'c1'", "an image without a mask", "split to test")
    assert contents(users.data) == {}


def test_importing_one_patient_in_two_splits(
    users: Folder, refused: Callable, contents: Callable
) -> None:
    replace(users.table / "cases.csv", "c6,dark,p6,val", "c6,dark,p0,val")
    refused(users.import_(), "patient 'p0'", "'c0'", "'c6'", "'train'", "'val'")
    assert contents(users.data) == {}


def test_importing_an_empty_dataset(tmp_path: Path, users: Folder, refused: Callable) -> None:
    for table in (users.table / "images", users.table / "masks"):
        shutil.rmtree(table)
        table.mkdir()
    (users.table / "cases.csv").write_text("case,class,patient,split\n")
    refused(users.import_(), "no cases", "cases.csv")
    assert not users.data.exists()


def test_importing_a_folder_that_is_not_there(users: Folder, refused: Callable) -> None:
    shutil.rmtree(users.table)
    refused(users.import_(), str(users.table), "no such folder", "Check the path")
    assert not users.data.exists()


def test_importing_under_a_name_that_is_taken(
    users: Folder, road: Any, segduet: Callable, refused: Callable, contents: Callable
) -> None:
    before = contents(road.raw)
    taken = ("--name", "Dataset501_other", "--data-root", road.data)
    refused(segduet("import", "table", users.table, *taken), "Dataset501_tiny", "not taken")
    assert contents(road.raw) == before
    assert [p.name for p in road.raw.parent.iterdir()] == ["Dataset501_tiny"]


def test_importing_onto_a_full_disk(
    users: Folder, refused: Callable, contents: Callable, full_disk: Callable
) -> None:
    with full_disk(2000):
        finished = users.import_()
    refused(finished, "Dataset501_tiny", "write failed", "Free some space")
    assert contents(users.data) == {}
    assert users.import_().code == 0


# check: the same faults in a raw dataset ---------------------------------------------------------


def unreadable(raw: Path) -> None:
    image = raw / "imagesTr" / "c3_0000.nii.gz"
    image.write_bytes(image.read_bytes()[:900])


def no_image(raw: Path) -> None:
    (raw / "imagesTr" / "c3_0000.nii.gz").unlink()


def no_row(raw: Path) -> None:
    replace(raw / "cases.csv", "c3,p3,,train,bright\n", "")


def no_class(raw: Path) -> None:
    replace(raw / "cases.csv", "c3,p3,,train,bright", "c3,p3,,train,")


def unknown_class(raw: Path) -> None:
    replace(raw / "cases.csv", "c3,p3,,train,bright", "c3,p3,,train,shiny")


def two_splits(raw: Path) -> None:
    replace(raw / "cases.csv", "c6,p6,", "c6,p0,")


def one_case(raw: Path) -> None:
    replace(raw / "cases.csv", ",dark", ",bright")
    replace(raw / "cases.csv", "c0,p0,,train,bright", "c0,p0,,train,dark")


@pytest.mark.parametrize(
    ("damage", "kind", "case", "words"),
    [
        (unreadable, "image", "c3", "cut short"),
        (no_image, "files", "c3", "a mask, but no image"),
        (no_row, "files", "c3", "no row in cases.csv"),
        (no_class, "classes", "c3", "no class for 'class'"),
        (unknown_class, "table", "c3", "'shiny'"),
        (two_splits, "patients", "", "'p0' has cases in several splits: train, val"),
        (one_case, "classes", "", "'dark' of 'class' has a single case"),
    ],
)
def test_check_finds(
    *,
    damage: Change,
    kind: str,
    case: str,
    words: str,
    road: Any,
    tmp_path: Path,
    segduet: Callable,
) -> None:
    """Exit code 3, the finding with case and words, and something to do about it."""
    shutil.copytree(road.data / "nnUNet_raw", tmp_path / "nnUNet_raw")
    damage(tmp_path / "nnUNet_raw" / "Dataset501_tiny")
    finished = segduet("check", "tiny", "--data-root", tmp_path, "--workers", 1, "--json")
    findings = finished.json()["findings"]
    (found,) = [f for f in findings if (f["kind"], f["case"]) == (kind, case)]
    assert finished.code == 3
    assert finished.err == ""
    assert words in found["message"]
    assert found["remedy"].endswith(".")


@pytest.mark.parametrize(
    ("change", "header", "kind", "words"),
    [
        (with_value(1.4), {}, "labels", "1.4"),
        (lambda array: array[:, 1:], {}, "grid", "differ in shape"),
        (lambda array: array, {"spacing": (1.0, 1.5, 2.0)}, "grid", "differ in spacing"),
    ],
)
def test_check_finds_a_mask(
    *,
    change: Callable[[np.ndarray], np.ndarray],
    header: dict[str, Any],
    kind: str,
    words: str,
    road: Any,
    tmp_path: Path,
    segduet: Callable,
    rewrite: Callable,
) -> None:
    """A value between labels, another shape, another spacing."""
    shutil.copytree(road.data / "nnUNet_raw", tmp_path / "nnUNet_raw")
    rewrite(
        tmp_path / "nnUNet_raw" / "Dataset501_tiny" / "labelsTr" / "c3.nii.gz", change, **header
    )
    finished = segduet("check", "tiny", "--data-root", tmp_path, "--workers", 1, "--json")
    (found,) = finished.json()["findings"]
    assert finished.code == 3
    assert (found["kind"], found["case"]) == (kind, "c3")
    assert words in found["message"]


def test_checking_a_dataset_without_a_single_file(
    road: Any, tmp_path: Path, segduet: Callable
) -> None:
    """Every row, and the number in dataset.json, is told."""
    shutil.copytree(road.data / "nnUNet_raw", tmp_path / "nnUNet_raw")
    raw = tmp_path / "nnUNet_raw" / "Dataset501_tiny"
    for folder in (raw / "imagesTr", raw / "labelsTr"):
        shutil.rmtree(folder)
    finished = segduet("check", "tiny", "--data-root", tmp_path, "--json")
    findings = finished.json()["findings"]
    assert finished.code == 3
    assert {f["case"] for f in findings} == {"", *(f"c{i}" for i in range(8))}


# plan, preprocess --------------------------------------------------------------------------------


def test_planning_folds_with_a_class_of_one_case(
    road: Any, tmp_path: Path, segduet: Callable, refused: Callable
) -> None:
    """Told before the fingerprint is taken."""
    shutil.copytree(road.data / "nnUNet_raw", tmp_path / "nnUNet_raw")
    one_case(tmp_path / "nnUNet_raw" / "Dataset501_tiny")
    finished = segduet("plan", "tiny", "--folds", 2, "--data-root", tmp_path)
    refused(finished, "class 'dark'", "1 case of 1 patient", "fewer folds", "merge classes")
    assert not (tmp_path / "nnUNet_preprocessed").exists()


def test_planning_with_one_patient_in_two_splits(
    road: Any, tmp_path: Path, segduet: Callable, refused: Callable
) -> None:
    shutil.copytree(road.data / "nnUNet_raw", tmp_path / "nnUNet_raw")
    two_splits(tmp_path / "nnUNet_raw" / "Dataset501_tiny")
    finished = segduet("plan", "tiny", "--data-root", tmp_path)
    refused(finished, "patient 'p0'", "'c0'", "'c6'", "one split")
    assert not (tmp_path / "nnUNet_preprocessed").exists()


def test_planning_without_one_of_the_images(
    road: Any, tmp_path: Path, segduet: Callable, refused: Callable
) -> None:
    """A row without an image is not left out of the plan without a word."""
    shutil.copytree(road.data / "nnUNet_raw", tmp_path / "nnUNet_raw")
    no_image(tmp_path / "nnUNet_raw" / "Dataset501_tiny")
    finished = segduet("plan", "tiny", "--data-root", tmp_path, "--workers", 1)
    refused(finished, "no image with a mask for case 'c3'", "segduet check")
    assert not (tmp_path / "nnUNet_preprocessed").exists()


def test_planning_a_damaged_image(
    road: Any, tmp_path: Path, segduet: Callable, refused: Callable
) -> None:
    """nnU-Net's own reader would fill up what is missing without a word."""
    shutil.copytree(road.data / "nnUNet_raw", tmp_path / "nnUNet_raw")
    unreadable(tmp_path / "nnUNet_raw" / "Dataset501_tiny")
    finished = segduet("plan", "tiny", "--data-root", tmp_path, "--workers", 1)
    refused(finished, "c3_0000.nii.gz", "cut short", "Copy it again")
    assert not (tmp_path / "nnUNet_preprocessed").exists()


def test_preprocessing_a_damaged_image(
    road: Any, tmp_path: Path, segduet: Callable, refused: Callable, contents: Callable
) -> None:
    """The case is named; what was prepared before stays as it was."""
    mine = road.copy(tmp_path / "road")
    unreadable(mine.raw)
    before = contents(mine.preprocessed)
    finished = segduet("preprocess", "tiny", "--data-root", mine.data, "--workers", 1)
    refused(finished, "c3_0000.nii.gz", "cut short", "Copy it again")
    assert contents(mine.preprocessed) == before


def test_preprocessing_onto_a_full_disk(
    *,
    road: Any,
    tmp_path: Path,
    segduet: Callable,
    refused: Callable,
    contents: Callable,
    full_disk: Callable,
) -> None:
    """No file of a case that is not whole counts; with space again the same files come out."""
    mine = road.copy(tmp_path / "road")
    shutil.rmtree(mine.preprocessed / "segduetSmallPlans_3d_fullres")
    shutil.rmtree(mine.preprocessed / "segduet_records")
    arguments = ("preprocess", "tiny", "--data-root", mine.data, "--workers", 1)
    with full_disk(4096):
        finished = segduet(*arguments)
    refused(finished, "c0.b2nd", "write failed", "Free some space")
    assert list(mine.preprocessed.rglob(".partial-*")) == []
    assert list(mine.preprocessed.rglob("*.b2nd")) == []
    assert segduet(*arguments).code == 0
    prepared = "segduetSmallPlans_3d_fullres"
    names = sorted(p.name for p in (road.preprocessed / prepared).iterdir())
    assert sorted(p.name for p in (mine.preprocessed / prepared).iterdir()) == names


# train -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["the middle", "the header"])
def test_resuming_from_a_damaged_checkpoint(
    *,
    where: str,
    road: Any,
    tmp_path: Path,
    segduet: Callable,
    refused: Callable,
    contents: Callable,
    tiny_training: tuple[str, ...],
) -> None:
    """F52: cut short, or overwritten at its start; nothing in the run folder is touched."""
    mine = road.copy(tmp_path / "road")
    checkpoint = mine.run / "checkpoint_latest.safetensors"
    whole = checkpoint.read_bytes()
    cut = whole[: len(whole) // 2] if where == "the middle" else b"\xff" * 64 + whole[64:]
    checkpoint.write_bytes(cut)
    before = contents(mine.data)
    finished = segduet("train", "tiny", *tiny_training, "--resume", "--data-root", mine.data)
    refused(finished, "checkpoint_latest.safetensors", "cannot be read", "backup")
    assert contents(mine.data) == before


def test_resuming_with_other_settings(
    road: Any,
    segduet: Callable,
    refused: Callable,
    contents: Callable,
    tiny_training: tuple[str, ...],
) -> None:
    before = contents(road.run)
    finished = segduet(
        *("train", "tiny", *tiny_training, "--set", "seed=1", "--resume"),
        *("--data-root", road.data),
    )
    refused(finished, "--resume", "['seed']", "same recipe")
    assert contents(road.run) == before


def test_training_a_plan_with_an_unknown_network(
    road: Any,
    tmp_path: Path,
    segduet: Callable,
    refused: Callable,
    tiny_training: tuple[str, ...],
) -> None:
    """F52, B20: a class outside the allow-list is never imported."""
    mine = road.copy(tmp_path / "road")
    plan = mine.preprocessed / "segduetSmallPlans.json"
    replace(plan, "dynamic_network_architectures.architectures.unet.PlainConvUNet", "os.system")
    finished = segduet(
        *("train", "tiny", *tiny_training, "--name", "strange", "--data-root", mine.data)
    )
    refused(finished, "network_class_name", "'os.system'", "PlainConvUNet", "never imported")
    assert not list(mine.model.parent.glob("strange*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "nowhere"), ("dataset 'nowhere'", "0 matching", "segduet import --help")),
        (("train", "tiny", "--fold", "7"), ("--fold 7", "1 folds", "from 0 to 0, or all")),
        (("train", "tiny", "-c", "4d"), ("configuration '4d'", "'3d_fullres'")),
        (("train", "tiny", "-c", "2d"), ("2d", "8 of 8 missing", "preprocess Dataset501_tiny")),
        (("train", "tiny", "--plans", "nope"), ("nope.json", "no such file")),
        (("train", "tiny", "--recipe", "nope"), ("recipe 'nope'", "'default'", "segduet info")),
        (("train", "tiny", "--set", "epoch=3"), ("epoch", "perhaps epochs", "Correct")),
        (("train", "tiny", "--set", "optimizer.name=lion"), ("optimizer.name", "'lion'", "'sgd'")),
        (("train", "tiny", "--set", "epochs"), ("--set epochs", "key=value")),
        (("train", "tiny", "--set", "head.hidden=[8"), ("--set head.hidden=[8", "not YAML")),
        (
            ("train", "tiny", "--set", "steps_per_epoch.a=1"),
            ("steps_per_epoch", "no settings below"),
        ),
        (("train", "tiny", "--resume", "--overwrite"), ("both --resume and --overwrite",)),
        (("train", "tiny", "--device", "abacus"), ("--device abacus", "auto, cpu, cuda")),
        (("train", "tiny", "--device", "cuda:99"), ("--device cuda:99", "CUDA devices")),
        (("train", "tiny", "--precision", "fp12"), ("precision", "'fp12'")),
        (("train", "tiny", "--set", "seed=-1"), ("seed", "-1", "greater than or equal to 0")),
        (("train", "tiny", "--pretrained", "nope.pth"), ("nope.pth", "no such file")),
        (("train", "tiny", "--name", "a/b"), ("--name a/b", "letters")),
        (("preprocess", "tiny", "-c", "4d"), ("configuration '4d'", "'3d_fullres'")),
        (("preprocess", "nowhere"), ("dataset 'nowhere'",)),
        (("plan", "nowhere"), ("dataset 'nowhere'",)),
        (("plan", "tiny", "--memory-gb", "0"), ("--memory-gb 0", "no positive number")),
        (("plan", "tiny", "--memory-gb", "nan"), ("--memory-gb nan", "no positive number")),
        (("check", "nowhere"), ("dataset 'nowhere'",)),
        (("info", "nowhere"), ("nowhere", "no run.json", "Check the path")),
        (("report", "nowhere"), ("nowhere", "neither run.json nor summary.json")),
    ],
)
def test_asking_for_what_is_not_there(
    *,
    arguments: tuple[str, ...],
    words: tuple[str, ...],
    road: Any,
    tmp_path: Path,
    segduet: Callable,
    refused: Callable,
    contents: Callable,
    tiny_training: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unknown dataset, fold, configuration, recipe, setting, device and so on."""
    monkeypatch.chdir(tmp_path)
    before = contents(road.data)
    named = ("--name", "new") if arguments[0] == "train" and "--name" not in arguments else ()
    # short, should it be accepted after all
    short = tiny_training if arguments[0] == "train" else ()
    command, *rest = arguments
    refused(segduet(command, *short, *rest, *named, "--data-root", road.data), *words)
    assert contents(road.data) == before
    assert contents(tmp_path) == {}


def test_recipe_files_that_hold_no_recipe(
    road: Any, tmp_path: Path, segduet: Callable, refused: Callable
) -> None:
    """F57: a list, text in another encoding, half a mapping, an unknown key."""
    for content, word in (
        (b"- epochs\n", "a list"),
        (b"\xff\xfe\x00\x81", "not YAML"),
        (b"epochs: [3\n", "not YAML"),
        (b"speed: 3\n", "speed"),
    ):
        recipe = tmp_path / "recipe.yaml"
        recipe.write_bytes(content)
        named = ("--name", "new", "--data-root", road.data)
        for change in ((), ("--set", "seed=1")):
            refused(segduet("train", "tiny", "--recipe", recipe, *change, *named), word)


def test_pretrained_weights_of_something_else(
    road: Any, tmp_path: Path, segduet: Callable, refused: Callable
) -> None:
    """A file that is no checkpoint, and one that asks for code to be run (F52)."""
    garbage = tmp_path / "garbage.pth"
    garbage.write_bytes(b"not a checkpoint")
    named = ("--name", "new", "--data-root", road.data)
    refused(segduet("train", "tiny", "--pretrained", garbage, *named), "garbage.pth")
    hostile = tmp_path / "hostile.pth"
    hostile.write_bytes(b"cos\nsystem\n(S'touch " + bytes(tmp_path / "owned") + b"'\ntR.")
    refused(segduet("train", "tiny", "--pretrained", hostile, *named), "hostile.pth")
    assert not (tmp_path / "owned").exists()
    assert not list(road.model.parent.glob("new*"))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    "file",
    [
        "segduetSmallPlans_3d_fullres/c1.b2nd",
        "segduetSmallPlans_3d_fullres/c1_seg.b2nd",
        "segduet_records/segduetSmallPlans_3d_fullres/c1_locations.npz",
    ],
)
def test_training_on_a_damaged_prepared_case(
    *,
    workers: int,
    file: str,
    road: Any,
    tmp_path: Path,
    segduet: Callable,
    refused: Callable,
    tiny_training: tuple[str, ...],
) -> None:
    """The file is named, also where another process read it; preparing again mends it."""
    mine = road.copy(tmp_path / "road")
    damaged = mine.preprocessed / file
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    arguments = ("train", "tiny", *tiny_training, "--name", "new", "--data-root", mine.data)
    refused(segduet(*arguments, "--workers", workers), damaged.name, "segduet preprocess")
    if workers == 0:
        for path in mine.preprocessed.glob("*/**/c1*"):
            path.unlink()
        again = segduet("preprocess", "tiny", "--data-root", mine.data, "--workers", 1)
        assert again.code == 0
        # the copy of the reference went with the rest, and is back
        assert segduet(*arguments, "--overwrite").code == 0


def test_a_record_without_its_settings_is_prepared_anew(
    road: Any, tmp_path: Path, segduet: Callable, refused: Callable, tiny_training: tuple[str, ...]
) -> None:
    mine = road.copy(tmp_path / "road")
    record = mine.preprocessed / "segduet_records" / "segduetSmallPlans_3d_fullres" / "c1.json"
    record.write_text("{}")
    arguments = ("train", "tiny", *tiny_training, "--name", "new", "--data-root", mine.data)
    refused(segduet(*arguments), "1 of 8 missing or out of date", "'c1'", "segduet preprocess")
    assert segduet("preprocess", "tiny", "--data-root", mine.data, "--workers", 1).code == 0
    assert segduet(*arguments).code == 0


def test_training_on_a_full_disk(
    *,
    road: Any,
    tmp_path: Path,
    segduet: Callable,
    refused: Callable,
    full_disk: Callable,
    tiny_training: tuple[str, ...],
) -> None:
    """The first checkpoint tells it, before a step is trained."""
    mine = road.copy(tmp_path / "road")
    arguments = ("train", "tiny", *tiny_training, "--name", "full", "--data-root", mine.data)
    with full_disk(4096):
        finished = segduet(*arguments)
    refused(finished, "checkpoint_latest.safetensors", "write failed", "Free some space")
    assert [p for p in mine.model.parent.glob("full*/**/*") if p.is_file()] == []


# predict -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 100, 20_000])
def test_predicting_with_a_damaged_model(
    length: int, road: Any, tmp_path: Path, segduet: Callable, refused: Callable
) -> None:
    mine = road.copy(tmp_path / "road")
    weights = mine.run / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:length])
    out = tmp_path / "out"
    finished = segduet("predict", mine.model, mine.raw / "imagesTr", "--out", out)
    refused(finished, "model.safetensors", "cannot be read")
    assert not out.exists()


def test_predicting_with_a_model_of_another_kind(
    road: Any, tmp_path: Path, segduet: Callable, refused: Callable
) -> None:
    """The run's checkpoint in the model's place: whole, but no model."""
    mine = road.copy(tmp_path / "road")
    shutil.copyfile(mine.run / "checkpoint_latest.safetensors", mine.run / "model.safetensors")
    out = tmp_path / "out"
    finished = segduet("predict", mine.model, mine.raw / "imagesTr", "--out", out)
    refused(finished, "model.safetensors", "segduet-checkpoint-1", "segduet-model-2")
    assert not out.exists()


def test_predicting_with_a_plan_of_an_unknown_network(
    road: Any, tmp_path: Path, segduet: Callable, refused: Callable
) -> None:
    mine = road.copy(tmp_path / "road")
    plan = mine.model / "plans.json"
    replace(plan, "dynamic_network_architectures.architectures.unet.PlainConvUNet", "a.Net")
    out = tmp_path / "out"
    finished = segduet("predict", mine.model, mine.raw / "imagesTr", "--out", out)
    refused(finished, "'a.Net'", "never imported")
    assert not out.exists()


def test_predicting_with_too_many_channels(
    road: Any, tmp_path: Path, segduet: Callable, refused: Callable
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for channel in (0, 1):
        source = road.raw / "imagesTr" / "c0_0000.nii.gz"
        shutil.copyfile(source, images / f"c0_{channel:04d}.nii.gz")
    out = tmp_path / "out"
    refused(
        segduet("predict", road.model, images, "--out", out),
        *("case 'c0'", "channels [0, 1]", "exactly channels [0]"),
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--folds", "3"), ("finished folds ['0']", "['3']", "--folds")),
        (("--folds", "0,0"), ("['0', '0']", "each once")),
        (("--step", "0"), ("step 0.0", "above 0 and at most 1")),
        (("--device", "cuda:99"), ("--device cuda:99",)),
        (("--device", "tpu"), ("--device tpu", "auto, cpu, cuda or cuda:N")),
        (("--precision", "fp16", "--device", "cpu"), ("--precision fp16", "fp16 on cpu")),
        (("--precision", "int8"), ("--precision int8", "8-bit")),
    ],
)
def test_predicting_with_settings_that_do_not_fit(
    *,
    arguments: tuple[str, ...],
    words: tuple[str, ...],
    road: Any,
    tmp_path: Path,
    segduet: Callable,
    refused: Callable,
) -> None:
    out = tmp_path / "out"
    finished = segduet("predict", road.model, road.raw / "imagesTr", "--out", out, *arguments)
    refused(finished, *words)
    assert not out.exists()


def test_predicting_into_the_folder_of_the_images(
    road: Any, tmp_path: Path, segduet: Callable, refused: Callable, contents: Callable
) -> None:
    """An image c0.nii.gz would be replaced by its own mask."""
    shutil.copyfile(road.raw / "imagesTr" / "c0_0000.nii.gz", tmp_path / "c0.nii.gz")
    before = contents(tmp_path)
    finished = segduet("predict", road.model, tmp_path, "--out", tmp_path / "." / "")
    refused(finished, "--out", "the folder of the images", "another folder")
    assert contents(tmp_path) == before


def test_predicting_without_a_model_or_an_image(
    road: Any, tmp_path: Path, segduet: Callable, refused: Callable
) -> None:
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    refused(segduet("predict", tmp_path / "no", empty, "--out", out), "no such folder")
    refused(segduet("predict", empty, road.raw / "imagesTr", "--out", out), "plans.json")
    refused(segduet("predict", road.model, empty, "--out", out), "0 files", ".nii.gz")
    missing = empty / "x.nii.gz"
    refused(segduet("predict", road.model, missing, "--out", out), str(missing), "no such file")
    assert not out.exists()


def test_predicting_onto_a_full_disk(
    *,
    road: Any,
    tmp_path: Path,
    segduet: Callable,
    refused: Callable,
    contents: Callable,
    full_disk: Callable,
) -> None:
    """No mask is cut short (ITK itself would say nothing); with space again all are written."""
    out = tmp_path / "out"
    arguments = ("predict", road.model, road.raw / "imagesTr", "--out", out, "--no-tta")
    with full_disk(200):
        finished = segduet(*arguments)
    refused(finished, str(out), "write failed", "Free some space")
    assert contents(out) == {}
    assert segduet(*arguments).code == 0
    assert len(list(out.glob("*.nii.gz"))) == 8


# evaluate ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A copy of the predictions, and the command that scores them."""

    predictions: Path
    out: Path
    data: Path
    segduet: Callable[..., Any]

    def evaluate(self, *more: object) -> Any:
        """Scores every case of the dataset."""
        return self.segduet(
            *("evaluate", "--reference", "tiny", "--predictions", self.predictions),
            *("--out", self.out, "--data-root", self.data, "--workers", 1, *more),
        )


@pytest.fixture
def scored(road: Any, tmp_path: Path, segduet: Callable) -> Scored:
    predictions = tmp_path / "predictions"
    shutil.copytree(road.predictions, predictions)
    return Scored(predictions=predictions, out=tmp_path / "out", data=road.data, segduet=segduet)


def test_evaluating_with_a_missing_mask(scored: Scored, refused: Callable) -> None:
    (scored.predictions / "c5.nii.gz").unlink()
    refused(scored.evaluate(), "case 'c5'", "no predicted mask", "none is skipped")
    assert not scored.out.exists()


def test_evaluating_with_a_missing_answer(scored: Scored, refused: Callable) -> None:
    answers = scored.predictions / "predictions.csv"
    kept = [line for line in answers.read_text().splitlines() if not line.startswith("c5,")]
    answers.write_text("\n".join(kept) + "\n")
    refused(scored.evaluate(), "case 'c5'", "no predicted answer for 'class'")
    assert not scored.out.exists()


def test_evaluating_with_an_extra_prediction(scored: Scored, refused: Callable) -> None:
    shutil.copyfile(scored.predictions / "c5.nii.gz", scored.predictions / "c9.nii.gz")
    refused(scored.evaluate(), "1 cases without a reference", "'c9'")
    assert not scored.out.exists()


def test_evaluating_on_another_grid(scored: Scored, refused: Callable, rewrite: Callable) -> None:
    rewrite(scored.predictions / "c5.nii.gz", lambda array: array, spacing=(1.0, 1.0, 2.5))
    refused(scored.evaluate(), "c5", "spacing")
    assert not scored.out.exists()


def test_evaluating_a_failed_case(scored: Scored, refused: Callable) -> None:
    """F80: it is not left out of a mean."""
    answers = scored.predictions / "predictions.csv"
    lines = answers.read_text().splitlines()
    columns = len(lines[0].split(","))
    lines[1] = "c0,failed,no such file,0" + "," * (columns - 4)
    answers.write_text("\n".join(lines) + "\n")
    refused(scored.evaluate(), "1 failed cases", "'c0'", "no such file", "predict again")
    assert not scored.out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--split", "holdout"), ("split 'holdout'", "train, val, test")),
        (("--split", "val", "--fold", "0"), ("both --split and --fold",)),
        (("--fold", "9"), ("--fold 9", "1 folds")),
        (("--targets", "nope"), ("nope",)),
        (("--split", "test"), ("--split test", "no case of this split", "['train', 'val']")),
    ],
)
def test_evaluating_what_is_not_there(
    arguments: tuple[str, ...], words: tuple[str, ...], scored: Scored, refused: Callable
) -> None:
    refused(scored.evaluate(*arguments), *words)
    assert not scored.out.exists()


def test_reporting_onto_a_full_disk(
    road: Any, tmp_path: Path, segduet: Callable, refused: Callable, full_disk: Callable
) -> None:
    page = tmp_path / "report.html"
    with full_disk(4096):
        finished = segduet("report", road.evaluation, "--out", page, "--data-root", road.data)
    refused(finished, "report.html", "write failed")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("evaluation/manifest.json", ("manifest.json", "Evaluate again")),
        ("evaluation/summary.json", ("summary.json", "schema version None")),
        (
            "data/nnUNet_results/Dataset501_tiny/segduet_default__segduetSmallPlans__3d_fullres/"
            "fold_0/run.json",
            ("run.json", "schema version None"),
        ),
    ],
)
def test_reporting_records_without_their_entries(
    *,
    file: str,
    words: tuple[str, ...],
    road: Any,
    tmp_path: Path,
    segduet: Callable,
    refused: Callable,
) -> None:
    mine = road.copy(tmp_path / "road")
    (mine.folder / file).write_text("{}")
    page = tmp_path / "report.html"
    finished = segduet("report", mine.run, mine.evaluation, "--out", page, "--data-root", mine.data)
    refused(finished, *words)
    assert not page.exists()


def test_reporting_a_damaged_summary(
    road: Any, tmp_path: Path, segduet: Callable, refused: Callable
) -> None:
    mine = road.copy(tmp_path / "road")
    whole = (mine.evaluation / "summary.json").read_text()
    (mine.evaluation / "summary.json").write_text(whole[: len(whole) // 2])
    page = tmp_path / "report.html"
    finished = segduet("report", mine.evaluation, "--out", page, "--data-root", mine.data)
    refused(finished, "summary.json", "cannot be read as JSON", "make it again")
    assert not page.exists()


def test_a_folder_that_may_not_be_written(
    road: Any, tmp_path: Path, segduet: Callable, refused: Callable
) -> None:
    """A file stands where the output folder should be."""
    out = tmp_path / "out"
    out.write_text("a file")
    finished = segduet("predict", road.model, road.raw / "imagesTr", "--out", out, "--no-tta")
    refused(finished, str(out), "write failed")
    assert out.read_text() == "a file"


@pytest.mark.parametrize("manifest", ["[]", '{"command": "predict"}', '{"command": "evaluate"}'])
def test_reporting_an_evaluation_that_does_not_say_what_it_compared(
    tmp_path: Path, segduet: Callable, refused: Callable, manifest: str
) -> None:
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    (evaluation / "summary.json").write_text("{}")
    (evaluation / "manifest.json").write_text(manifest)
    finished = segduet("report", evaluation, "--out", tmp_path / "report.html")
    refused(finished, "manifest.json", "no file that `segduet evaluate` wrote")
    assert not (tmp_path / "report.html").exists()
