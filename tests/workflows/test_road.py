"""From a user's folder to the report, through the commands: what comes out, and what it means."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from PIL import Image
from sklearn.metrics import f1_score

from segduet import __version__

CASES = [f"c{i}" for i in range(8)]
UNSEEN = ["c6", "c7"]


def voxels(path: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def rows(table: Path) -> dict[str, dict[str, str]]:
    with table.open(newline="") as stream:
        return {row["case"]: row for row in csv.DictReader(stream)}


def dsc(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


# import, check, plan, preprocess -----------------------------------------------------------------


def test_import_keeps_every_byte_and_every_word(road: Any) -> None:
    """F02, B01: images and masks as they were, classes and patients in the case table."""
    for case in CASES:
        for kind, target in (("images", f"imagesTr/{case}_0000"), ("masks", f"labelsTr/{case}")):
            original = (road.folder / "table" / kind / f"{case}.nii.gz").read_bytes()
            assert (road.raw / f"{target}.nii.gz").read_bytes() == original
    assert (road.raw / "cases.csv").read_text().splitlines() == [
        "case,patient,site,split,class",
        *(
            f"c{i},p{i},,{'train' if i < 6 else 'val'},{'bright' if i % 2 else 'dark'}"
            for i in range(8)
        ),
    ]
    description = json.loads((road.raw / "dataset.json").read_text())
    assert description["labels"] == {"background": 0, "label_1": 1}
    assert description["numTraining"] == 8


def test_check_tells_the_dataset_in_numbers(road: Any) -> None:
    """Nothing is found; classes and voxels are those of the files."""
    told = road.finished["check"].json()
    assert told["findings"] == []
    assert json.loads((road.raw / "dataset-report.json").read_text()) == told["report"]
    assert told["lines"][1:] == ["  8 images, 8 masks", "  class: {'bright': 4, 'dark': 4}"]


def test_the_split_that_came_with_the_data_is_kept(road: Any) -> None:
    """F05."""
    (fold,) = json.loads((road.preprocessed / "splits_final.json").read_text())
    assert fold == {"train": CASES[:6], "val": UNSEEN}
    assert road.finished["plan"].json()["folds"] == [{"train": 6, "val": 2}]


def test_held_out_cases_leave_no_trace_in_the_fingerprint(
    road: Any, tmp_path: Path, segduet: Callable
) -> None:
    """F05: brighter validation cases leave it as it is, byte for byte; without the option not."""
    shutil.copytree(road.data / "nnUNet_raw", tmp_path / "nnUNet_raw")
    for case in UNSEEN:
        image = tmp_path / "nnUNet_raw" / road.raw.name / "imagesTr" / f"{case}_0000.nii.gz"
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(image)) + 700, str(image))
    arguments = ("plan", "tiny", "--planner", "small", "--data-root", tmp_path, "--workers", 1)
    name = "dataset_fingerprint.json"
    made = tmp_path / "nnUNet_preprocessed" / road.raw.name / name
    assert segduet(*arguments, "--hold-out-validation").code == 0
    assert made.read_bytes() == (road.preprocessed / name).read_bytes()
    assert json.loads(made.read_text())["spacings"] == [[2.0, 1.0, 1.0]] * 6
    assert segduet(*arguments).code == 0
    assert made.read_bytes() != (road.preprocessed / name).read_bytes()


def test_preprocessing_again_keeps_what_is_there(
    road: Any, tmp_path: Path, segduet: Callable
) -> None:
    """Whole and unchanged cases are not written again; a changed one is."""
    mine = road.copy(tmp_path / "road")
    prepared = mine.preprocessed / "segduetSmallPlans_3d_fullres"
    before = {p.name: p.stat().st_ino for p in prepared.glob("*.b2nd")}
    image = mine.raw / "imagesTr" / "c2_0000.nii.gz"
    changed = SimpleITK.ReadImage(str(image)) + 50
    SimpleITK.WriteImage(changed, str(image))
    assert segduet("preprocess", "tiny", "--data-root", mine.data, "--workers", 1).code == 0
    after = {p.name: p.stat().st_ino for p in prepared.glob("*.b2nd")}
    assert len(after) == 16
    assert {name for name in after if after[name] != before[name]} == {"c2.b2nd", "c2_seg.b2nd"}


# train -------------------------------------------------------------------------------------------


def test_the_run_folder_holds_model_record_and_validation(road: Any) -> None:
    """One line per epoch, the recipe as it was, and the full validation cases' masks."""
    record = json.loads((road.run / "run.json").read_text())
    history = [json.loads(line) for line in (road.run / "metrics.jsonl").read_text().splitlines()]
    assert record["recipe"]["steps_per_epoch"] == 3
    assert record["recipe"]["head"]["hidden"] == [8]
    assert (record["epochs_done"], record["selected_from"]) == (2, 1)
    assert record["selection_rule"] == "last"
    assert (record["train_cases"], record["validation_cases"]) == (CASES[:6], UNSEEN)
    answered = json.loads((road.predictions / "manifest.json").read_text())["arguments"]
    assert record["weights_sha256"] == answered["weights_sha256"]
    assert [line["epoch"] for line in history] == [0, 1]
    assert history[1]["train"]["loss"] < history[0]["train"]["loss"]
    assert {p.name for p in (road.run / "validation").iterdir()} == {
        *("c6.nii.gz", "c7.nii.gz", "predictions.csv", "scores.csv", "summary.json")
    }
    for name in ("model.safetensors", "checkpoint_final.pth", "checkpoint_latest.safetensors"):
        assert (road.run / name).stat().st_size > 10_000, name


def test_training_again_by_mistake_is_refused(
    road: Any, segduet: Callable, tiny_training: tuple[str, ...]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in road.run.rglob("*")}
    finished = segduet("train", "tiny", *tiny_training, "--data-root", road.data)
    assert finished.code == 2
    assert "--resume" in finished.err
    assert "--overwrite" in finished.err
    assert {p: p.stat().st_mtime_ns for p in road.run.rglob("*")} == before


def test_resuming_a_finished_training_changes_no_weight(
    road: Any, tmp_path: Path, segduet: Callable, tiny_training: tuple[str, ...]
) -> None:
    """B10: no step is left to be made; model and record say the same as before."""
    mine = road.copy(tmp_path / "road")
    finished = segduet("train", "tiny", *tiny_training, "--resume", "--data-root", mine.data)
    assert finished.code == 0
    for name in ("model.safetensors", "checkpoint_latest.safetensors", "metrics.jsonl"):
        assert (mine.run / name).read_bytes() == (road.run / name).read_bytes(), name
    for name in ("validation/c6.nii.gz", "validation/scores.csv", "validation/summary.json"):
        assert (mine.run / name).read_bytes() == (road.run / name).read_bytes(), name
    assert json.loads((mine.run / "run.json").read_text())["epochs_done"] == 2


def test_starting_anew_gives_the_same_model(
    road: Any, tmp_path: Path, segduet: Callable, tiny_training: tuple[str, ...]
) -> None:
    """F58: same seed, same weights, also over an old run whose files must not linger."""
    mine = road.copy(tmp_path / "road")
    (mine.run / "model.safetensors").write_bytes(b"old")
    (mine.run / "validation" / "c9.nii.gz").write_bytes(b"of an old run")
    finished = segduet("train", "tiny", *tiny_training, "--overwrite", "--data-root", mine.data)
    assert finished.code == 0
    for name in ("model.safetensors", "validation/c6.nii.gz", "validation/scores.csv"):
        assert (mine.run / name).read_bytes() == (road.run / name).read_bytes(), name
    assert not (mine.run / "validation" / "c9.nii.gz").exists()


def test_a_selected_model_says_out_of_how_many(
    road: Any, tmp_path: Path, segduet: Callable, tiny_training: tuple[str, ...]
) -> None:
    """B09: every full-case validation was a candidate, and the best of them is the model."""
    mine = road.copy(tmp_path / "road")
    finished = segduet(
        *("train", "tiny", *tiny_training, "--name", "selected", "--data-root", mine.data),
        *("--set", "validation.selection=best_joint", "--set", "validation.full_cases_every=1"),
        *("--json",),
    )
    run = Path(finished.json()["run_folder"])
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    scores = [line["full_case"]["score"] for line in history]
    record = json.loads((run / "run.json").read_text())
    summary = json.loads((run / "validation" / "summary.json").read_text())
    assert record["selection_rule"] == "best_joint"
    assert record["selected_from"] == summary["selected_from"] == len(scores) == 2
    measured = history[int(np.argmax(scores))]["full_case"]
    expected = [measured["dsc"]["mean_foreground"], *measured["task_score"].values()]
    assert max(scores) == pytest.approx(np.mean(expected))


# predict -----------------------------------------------------------------------------------------


def test_masks_lie_where_their_images_lie(road: Any) -> None:
    """F63: size, spacing, origin and direction are the input's; only declared labels."""
    for case in CASES:
        image = SimpleITK.ReadImage(str(road.raw / "imagesTr" / f"{case}_0000.nii.gz"))
        mask = SimpleITK.ReadImage(str(road.predictions / f"{case}.nii.gz"))
        for grid in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(mask, grid)() == pytest.approx(getattr(image, grid)()), grid
        assert mask.GetSpacing() == pytest.approx((1.0, 1.0, 2.0))
        assert set(np.unique(SimpleITK.GetArrayFromImage(mask))) == {0, 1}


def test_answers_are_probabilities_and_name_the_likeliest_class(road: Any) -> None:
    """F64, F80: one line per case, none failed."""
    answers = rows(road.predictions / "predictions.csv")
    assert list(answers) == CASES
    for row in answers.values():
        odds = {name: float(row[f"class:{name}"]) for name in ("bright", "dark")}
        assert sum(odds.values()) == pytest.approx(1, abs=1e-9)
        assert row["class"] == max(odds, key=odds.__getitem__)
        assert (row["status"], row["message"]) == ("ok", "")
        assert float(row["seconds"]) > 0


def test_a_case_is_predicted_the_same_alone(road: Any, tmp_path: Path, segduet: Callable) -> None:
    """Nothing leaks from one case into the next."""
    image = road.raw / "imagesTr" / "c3_0000.nii.gz"
    assert segduet("predict", road.model, image, "--out", tmp_path, "--no-tta").code == 0
    name = "c3.nii.gz"
    assert (tmp_path / name).read_bytes() == (road.predictions / name).read_bytes()
    alone = rows(tmp_path / "predictions.csv")["c3"]
    together = rows(road.predictions / "predictions.csv")["c3"]
    assert alone | {"seconds": ""} == together | {"seconds": ""}


def test_a_damaged_case_is_named_and_the_others_are_done(
    road: Any, tmp_path: Path, segduet: Callable
) -> None:
    """F80: exit code 2, no class and no mask for it, and every other answer as without it."""
    images, out = tmp_path / "images", tmp_path / "out"
    shutil.copytree(road.raw / "imagesTr", images)
    broken = images / "c3_0000.nii.gz"
    broken.write_bytes(broken.read_bytes()[:900])
    finished = segduet("predict", road.model, images, "--out", out, "--no-tta", "--json")
    failed = finished.json()["failed"]
    answers = rows(out / "predictions.csv")
    expected = rows(road.predictions / "predictions.csv")
    assert finished.code == 2
    assert list(failed) == ["c3"]
    assert "cut short" in failed["c3"]
    assert (answers["c3"]["status"], answers["c3"]["message"]) == ("failed", failed["c3"])
    assert answers["c3"]["class"] == answers["c3"]["class:dark"] == ""
    assert not (out / "c3.nii.gz").exists()
    for case in set(CASES) - {"c3"}:
        assert answers[case]["class:dark"] == expected[case]["class:dark"]
        name = f"{case}.nii.gz"
        assert (out / name).read_bytes() == (road.predictions / name).read_bytes()


def test_a_person_is_told_which_case_failed(road: Any, tmp_path: Path, segduet: Callable) -> None:
    broken = tmp_path / "x9_0000.nii.gz"
    broken.write_bytes(b"no image")
    finished = segduet("predict", road.model, broken, "--out", tmp_path / "out")
    assert finished.code == 2
    assert "failed: x9: " in finished.out


# evaluate, report --------------------------------------------------------------------------------


def test_the_figures_are_those_of_a_second_computation(
    road: Any, tmp_path: Path, segduet: Callable
) -> None:
    """F81, B19: DSC by hand, macro-F1 by scikit-learn, over all eight cases."""
    finished = segduet(
        *("evaluate", "--reference", "tiny", "--predictions", road.predictions),
        *("--out", tmp_path, "--data-root", road.data, "--workers", 1, "--json"),
    )
    summary = finished.json()
    overlaps = [
        dsc(
            voxels(road.raw / "labelsTr" / f"{case}.nii.gz") == 1,
            voxels(road.predictions / f"{case}.nii.gz") == 1,
        )
        for case in CASES
    ]
    answers = rows(road.predictions / "predictions.csv")
    truth = {case: row["class"] for case, row in rows(road.raw / "cases.csv").items()}
    f1 = f1_score([truth[c] for c in CASES], [answers[c]["class"] for c in CASES], average="macro")
    figure = summary["segmentation"]["label_1"]["dsc"]
    assert summary["n_cases"] == 8
    assert figure["mean"] == pytest.approx(np.mean(overlaps), abs=1e-12)
    assert figure["ci95"][0] <= figure["mean"] <= figure["ci95"][1]
    assert summary["classification"]["class"]["macro_f1"]["value"] == pytest.approx(f1)
    assert summary["selected_from"] == 1
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    by_case = rows(tmp_path / "scores.csv")
    column = next(name for name in by_case["c0"] if "label_1" in name and "dsc" in name)
    assert [float(by_case[c][column]) for c in CASES] == pytest.approx(overlaps)


def test_baselines_stand_beside_the_model(road: Any) -> None:
    """Fitted on the six training cases; on one dark and one bright case the majority class has
    macro-F1 (2/3 + 0) / 2."""
    summary = json.loads((road.evaluation / "summary.json").read_text())
    baselines = summary["baselines"]
    assert summary["n_cases"] == 2
    assert set(baselines) == {"majority_class", "mask_volume"}
    assert "6 training cases" in baselines["majority_class"]["description"]
    majority = baselines["majority_class"]["classification"]["class"]["macro_f1"]["value"]
    assert majority == pytest.approx(1 / 3)


def test_the_report_holds_the_cases_and_the_numbers(road: Any) -> None:
    """F88, F89: one page that needs no other file, and the training as text."""
    page = road.page.read_text(encoding="utf-8")
    summary = json.loads((road.evaluation / "summary.json").read_text())
    mean = summary["segmentation"]["label_1"]["dsc"]["mean"]
    f1 = summary["classification"]["class"]["macro_f1"]["value"]
    assert f"{mean:.3f}" in page
    assert f"{f1:.3f}" in page
    assert all(case in page for case in UNSEEN)
    assert "data:image/" in page or "<svg" in page
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]+"', page) == []
    assert "Dataset501_tiny" in (road.folder / "training_summary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("command", "manifest"),
    [
        ("import", "data/nnUNet_raw/Dataset501_tiny/manifest.json"),
        ("check", "data/nnUNet_raw/Dataset501_tiny/check_manifest.json"),
        ("plan", "data/nnUNet_preprocessed/Dataset501_tiny/manifest.json"),
        (
            "preprocess",
            "data/nnUNet_preprocessed/Dataset501_tiny/preprocess_3d_fullres_manifest.json",
        ),
        (
            "train",
            "data/nnUNet_results/Dataset501_tiny/"
            "segduet_default__segduetSmallPlans__3d_fullres/fold_0/manifest.json",
        ),
        ("predict", "predictions/manifest.json"),
        ("evaluate", "evaluation/manifest.json"),
        ("report", "report_manifest.json"),
    ],
)
def test_every_command_leaves_a_manifest(command: str, manifest: str, road: Any) -> None:
    """B23: which command, with what, on which versions, and what came of it."""
    record = json.loads((road.folder / manifest).read_text())
    assert record["command"] == command
    assert record["versions"]["segduet"] == __version__
    assert record["versions"]["numpy"] == np.__version__
    assert record["outcome"] == road.finished[command].json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record["started"])
    assert record["seconds"] >= 0


# 2D ----------------------------------------------------------------------------------------------


def write_pictures(folder: Path) -> Path:
    """Eight grey PNGs with a disc, in the layout `table`; two patients have two pictures."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    lines = ["case,class,patient,split"]
    y, x = np.ogrid[:24, :32]
    for index in range(8):
        rng = np.random.default_rng(index)
        mask = (y - rng.integers(8, 16)) ** 2 + (x - rng.integers(8, 24)) ** 2 < 36
        grey = np.clip(rng.normal(90, 8, mask.shape) + mask * (90 if index % 2 else 45), 0, 255)
        for kind, array in (("images", grey), ("masks", mask)):
            Image.fromarray(array.astype(np.uint8)).save(folder / kind / f"s{index}.png")
        kind = "bright" if index % 2 else "dark"
        lines.append(f"s{index},{kind},p{index // 2 if index < 4 else index},")
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_pictures_go_the_same_road(
    tmp_path: Path, segduet: Callable, tiny_training: tuple[str, ...]
) -> None:
    """2D: PNG in, folds by patient, a 2D network, PNG masks of the same size out."""
    data, out = tmp_path / "data", tmp_path / "out"
    root = ("--data-root", data)
    table = write_pictures(tmp_path / "table")
    for arguments in (
        ("import", "table", table, "--name", "discs", "--workers", 1),
        ("check", "discs", "--workers", 1),
        ("plan", "discs", "--planner", "small", "--folds", 2, "--workers", 1),
        ("preprocess", "discs", "-c", "2d", "--workers", 1),
        ("train", "discs", *tiny_training, "-c", "2d", "-f", 1, "--epochs", 1),
    ):
        finished = segduet(*arguments, *root, "--json")
        assert finished.code == 0, finished.err
    model = Path(finished.json()["run_folder"]).parent
    assert model.name.endswith("__2d")
    folds = json.loads((next(data.glob("nnUNet_preprocessed/*")) / "splits_final.json").read_text())
    for pair in ({"s0", "s1"}, {"s2", "s3"}):
        assert all(pair <= set(f["train"]) or pair <= set(f["val"]) for f in folds)
    assert segduet("predict", model, table / "images", "--out", out).code == 0
    masks = [np.asarray(Image.open(out / f"s{i}.png")) for i in range(8)]
    assert all(m.shape == (24, 32) and set(np.unique(m)) <= {0, 1} for m in masks)
    assert len(rows(out / "predictions.csv")) == 8
