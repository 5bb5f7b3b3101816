"""F78: `segduet cleanup`: what helps is learned from validation cases, and applied."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segduet.cleanup.plan import CleanupPlan
from segduet.cleanup.steps import FillHoles, KeepInside, KeepLargest, RemoveSmall
from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.description import DatasetDescription
from segduet.core.files import read_json, write_csv, write_json
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.io.images import read_label_map, write_label_map

NAME = "Dataset601_livers"
GEOMETRY = Geometry(
    shape_zyx=(6, 24, 24), spacing_zyx_mm=(4.0, 2.0, 2.0), origin_xyz_mm=(3.0, -5.0, 7.5)
)
LABELS = {"background": 0, "organ": [1, 2], "lesion": [2]}
DESCRIPTION = DatasetDescription(
    channel_names={"0": "CT"},
    labels=LABELS,
    regions_class_order=[1, 2],
    numTraining=8,
    file_ending=".nii.gz",
)
CASES = [f"c{i}" for i in range(8)]


def truth(case: int) -> np.ndarray:
    """An organ with one lesion in it, everywhere a little different."""
    label_map = np.zeros(GEOMETRY.shape_zyx, np.uint8)
    label_map[1:5, 4 : 14 + case % 3, 4:16] = 1
    label_map[2:4, 6:10, 7 : 10 + case % 2] = 2
    return label_map


def faulty(case: int) -> np.ndarray:
    """What a network might say: a stray piece of organ far off, and a hole of varying size."""
    label_map = truth(case)
    label_map[1:3, 20:23, 18 : 20 + case % 3] = 1
    label_map[2, 11 : 12 + case % 2, 11:13] = 0
    return label_map


@dataclass(frozen=True)
class Trained:
    """A planned dataset of eight cases in two folds, one test case, and the runs of both folds."""

    root: Path

    raw = property(lambda self: self.root / "nnUNet_raw" / NAME)
    preprocessed = property(lambda self: self.root / "nnUNet_preprocessed" / NAME)
    model = property(lambda self: self.root / "nnUNet_results" / NAME / "tiny__plans__3d_fullres")

    def validation(self, case: int) -> Path:
        return self.model / f"fold_{case % 2}" / "validation" / f"c{case}.nii.gz"

    def predict(self, of_case: Callable[[int], np.ndarray]) -> None:
        for case in range(8):
            write_label_map(self.validation(case), of_case(case), GEOMETRY)


@pytest.fixture
def trained(tmp_path: Path) -> Trained:
    found = Trained(tmp_path / "data")
    patients = [f"p{i // 2}" if i > 5 else f"q{i}" for i in range(8)]
    records = [CaseRecord(case=c, patient=p) for c, p in zip(CASES, patients, strict=True)]
    table = CaseTable(records=(*records, CaseRecord(case="t0", patient="t", split="test")))
    plan = {"dataset_name": NAME, "plans_name": "plans", "configurations": {}}
    for folder in (found.raw, found.preprocessed, found.model):
        DESCRIPTION.write(folder / "dataset.json")
    for folder in (found.raw, found.preprocessed):
        table.write(folder / "cases.csv", ())
    write_json(found.model / "plans.json", plan)
    write_json(found.preprocessed / "plans.json", plan)
    folds = [{"train": CASES[1 - k :: 2], "val": CASES[k::2]} for k in range(2)]
    write_json(found.preprocessed / "splits_final.json", folds)
    for case in range(8):
        write_label_map(found.raw / "labelsTr" / f"c{case}.nii.gz", truth(case), GEOMETRY)
    # whoever looks at the test case stumbles
    (found.raw / "labelsTs").mkdir()
    (found.raw / "labelsTs" / "t0.nii.gz").write_bytes(b"do not read")
    found.predict(faulty)
    return found


@pytest.fixture
def cleanup(segduet: Callable[..., Any], trained: Trained) -> Callable[..., Any]:
    """`cleanup("learn", ...)`, in the dataset's folder where it learns."""

    def run(action: str, *arguments: object) -> Any:
        where = ("--data-root", trained.root, "--workers", 1) if action == "learn" else ()
        return segduet("cleanup", action, *arguments, *where, "--json")

    return run


def learned(cleanup: Callable[..., Any], trained: Trained, plan: Path) -> CleanupPlan:
    finished = cleanup("learn", trained.model, "--out", plan)
    assert finished.code == 0, finished.err
    return CleanupPlan.read(plan)


def mean_dsc(folder: Path, region: str) -> float:
    scheme = DESCRIPTION.label_scheme
    scores = []
    for case in range(8):
        found = scheme.mask(read_label_map(folder / f"c{case}.nii.gz").array[0], region)
        wanted = scheme.mask(truth(case), region)
        scores.append(2 * (found & wanted).sum() / (found.sum() + wanted.sum()))
    return float(np.mean(scores))


def test_what_mends_the_faults_is_learned_and_mends_new_label_maps(
    cleanup: Callable[..., Any], trained: Trained, tmp_path: Path
) -> None:
    """On differs from off, in the intended direction: both faults go, and DSC becomes 1."""
    plan = learned(cleanup, trained, tmp_path / "cleanup.json")
    kinds = [step.kind for step in plan.steps]
    assert sorted(kinds) == ["fill_holes", "keep_largest"]
    assert all("organ" in step.named for step in plan.steps)
    new = tmp_path / "new"
    for case in range(8):
        write_label_map(new / f"c{case}.nii.gz", faulty(case), GEOMETRY)
    shutil.copy(trained.model / "dataset.json", new)
    finished = cleanup("apply", new, "--plan", tmp_path / "cleanup.json", "--out", tmp_path / "out")
    assert finished.code == 0, finished.err
    assert mean_dsc(new, "organ") < 0.99
    assert mean_dsc(tmp_path / "out", "organ") == mean_dsc(tmp_path / "out", "lesion") == 1
    assert [entry["changed_cases"] for entry in finished.json()["cleanup"]["steps"]] == [8, 8]
    mended = read_label_map(tmp_path / "out" / "c0.nii.gz")
    assert mended.geometry.differences(GEOMETRY) == []
    assert mended.array.dtype == np.uint8
    manifest = read_json(tmp_path / "out" / "manifest.json")
    assert manifest["warnings"] == []


def test_the_plan_tells_everything_that_was_tried(
    cleanup: Callable[..., Any], trained: Trained, tmp_path: Path
) -> None:
    evidence = learned(cleanup, trained, tmp_path / "cleanup.json").evidence
    assert evidence is not None
    assert evidence.dataset == NAME
    assert evidence.num_cases == 8
    first = [t for t in evidence.trials if t.kept_before == 0]
    rounds = [sum(t.kept_before == k for t in evidence.trials) for k in range(3)]
    assert rounds == [len(first), len(first) - 1, len(first) - 2]
    assert evidence.num_tried == sum(rounds) == len(evidence.trials)
    kept = [t for t in evidence.trials if t.kept]
    assert [t.kept_before for t in kept] == [0, 1]
    for trial in kept:
        assert trial.difference.n == 8
        assert trial.difference.ci95 is not None
        assert trial.difference.ci95[0] > 0
        assert trial.num_changed == 8
    # by hand: the first step's gain in mean DSC of the organ
    before = mean_dsc(_together(trained, tmp_path / "all"), "organ")
    second_gain = kept[1].by_region["organ"]
    assert before + kept[0].by_region["organ"] + second_gain == pytest.approx(1)
    manifest = read_json(tmp_path / "cleanup_manifest.json")
    assert manifest["outcome"]["num_tried"] == evidence.num_tried


def _together(trained: Trained, folder: Path) -> Path:
    folder.mkdir()
    for case in range(8):
        shutil.copy(trained.validation(case), folder)
    return folder


def test_nothing_is_kept_where_nothing_helps_for_certain(
    cleanup: Callable[..., Any], trained: Trained, tmp_path: Path
) -> None:
    """Right label maps, and one single stray piece, which may be chance."""
    trained.predict(truth)
    assert learned(cleanup, trained, tmp_path / "a.json").steps == ()
    write_label_map(trained.validation(3), faulty(3), GEOMETRY)
    plan = learned(cleanup, trained, tmp_path / "b.json")
    assert plan.steps == ()
    assert plan.evidence is not None
    best = max(t.difference.value or 0 for t in plan.evidence.trials)
    assert best > 0
    told = [t for t in plan.evidence.trials if t.num_changed == 1]
    assert told
    assert not any(t.kept for t in told)


def test_a_step_that_would_cost_true_structures_is_not_kept(
    cleanup: Callable[..., Any], trained: Trained, tmp_path: Path
) -> None:
    """Every case has two true organs: the largest alone would lose one."""

    def two(case: int) -> np.ndarray:
        label_map = truth(case)
        label_map[1:5, 18:23, 4 : 10 + case % 3] = 1
        return label_map

    for case in range(8):
        write_label_map(trained.raw / "labelsTr" / f"c{case}.nii.gz", two(case), GEOMETRY)
    trained.predict(two)
    plan = learned(cleanup, trained, tmp_path / "cleanup.json")
    assert plan.steps == ()
    assert plan.evidence is not None
    largest = [t for t in plan.evidence.trials if t.step == KeepLargest(regions=("organ",))]
    assert largest[0].difference.value is not None
    assert largest[0].difference.value < -0.05


def test_false_lesions_in_healthy_cases_may_be_removed_to_the_last_voxel(
    cleanup: Callable[..., Any], trained: Trained, tmp_path: Path
) -> None:
    def healthy(case: int) -> np.ndarray:
        return np.minimum(truth(case), 1) if case % 4 else truth(case)

    def invented(case: int) -> np.ndarray:
        label_map = healthy(case)
        label_map[4, 5, 5 : 6 + case % 2] = 2  # 0.016 or 0.032 ml
        return label_map

    for case in range(8):
        write_label_map(trained.raw / "labelsTr" / f"c{case}.nii.gz", healthy(case), GEOMETRY)
    trained.predict(invented)
    plan = learned(cleanup, trained, tmp_path / "cleanup.json")
    assert plan.steps[0] == RemoveSmall(regions=("lesion",), min_ml=0.05, may_empty=True)


def test_an_evaluation_of_a_fold_serves_as_well_as_the_run(
    cleanup: Callable[..., Any], trained: Trained, tmp_path: Path
) -> None:
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    for case in range(0, 8, 2):
        shutil.copy(trained.validation(case), predictions)
    _manifest(predictions, model=str(trained.model), folds=["0"])
    evaluation = _evaluation(tmp_path, predictions, fold="0")
    finished = cleanup(
        "learn", evaluation, trained.model / "fold_1", "--out", tmp_path / "cleanup.json"
    )
    assert finished.code == 0, finished.err
    assert finished.json()["num_cases"] == 8
    assert finished.json()["sources"] == [
        str(predictions),
        str(trained.model / "fold_1" / "validation"),
    ]


def _manifest(folder: Path, command: str = "predict", **arguments: object) -> None:
    write_json(folder / "manifest.json", {"command": command, "arguments": arguments})


def _evaluation(tmp_path: Path, predictions: Path, **arguments: object) -> Path:
    folder = tmp_path / "evaluation"
    _manifest(folder, "evaluate", predictions=str(predictions), **arguments)
    write_json(folder / "summary.json", {})
    return folder


def test_cleaning_needs_no_torch() -> None:
    """Rule 2: the core install does it."""
    code = (
        "import sys, segduet.workflows.cleaning, segduet.workflows.cleanup_learning; "
        "print('torch' in sys.modules, 'nnunetv2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# what is refused


def _one_message(finished: Any, *words: str) -> None:
    assert finished.code == 2
    assert finished.out == ""
    assert finished.err.count("\n") == 1
    assert finished.err.startswith("error: ")
    for word in words:
        assert word in finished.err, finished.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"fold": None, "split": "test"}, ("evaluation of test cases", "--fold")),
        ({"fold": None, "split": None}, ("evaluation of all cases", "--fold")),
        ({"fold": "0", "by": ["0", "1"]}, ("['0', '1']", "fold 0 alone")),
        ({"fold": "0", "also": ["x"]}, ("and other models", "fold 0 alone")),
        ({"fold": "0", "cleanup": "c.json"}, ("c.json has cleaned already",)),
    ],
)
def test_learning_from_what_was_not_made_out_of_fold(
    arguments: dict[str, Any],
    words: tuple[str, ...],
    cleanup: Callable[..., Any],
    trained: Trained,
    tmp_path: Path,
) -> None:
    predictions = tmp_path / "predictions"
    _manifest(
        predictions,
        model=str(trained.model),
        folds=arguments.get("by", ["0"]),
        also=arguments.get("also", []),
        cleanup=arguments.get("cleanup"),
    )
    evaluation = _evaluation(
        tmp_path, predictions, fold=arguments["fold"], split=arguments.get("split")
    )
    plan = tmp_path / "cleanup.json"
    _one_message(cleanup("learn", evaluation, "--out", plan), *words)
    assert not plan.exists()


def without_references(trained: Trained) -> None:
    shutil.rmtree(trained.raw / "labelsTr")


def without_a_mask(trained: Trained) -> None:
    trained.validation(4).unlink()


def with_a_mask_too_many(trained: Trained) -> None:
    shutil.copy(trained.validation(4), trained.validation(4).with_name("c5.nii.gz"))


def with_a_test_case_in_a_fold(trained: Trained) -> None:
    folds = [{"train": CASES[1::2], "val": [*CASES[::2], "t0"]}, {"train": CASES, "val": []}]
    write_json(trained.preprocessed / "splits_final.json", folds)


def with_other_labels(trained: Trained) -> None:
    other = DESCRIPTION.model_copy(update={"labels": {"background": 0, "organ": 1, "cyst": 2}})
    other.write(trained.model / "dataset.json")


def with_another_grid(trained: Trained) -> None:
    geometry = Geometry(shape_zyx=GEOMETRY.shape_zyx, spacing_zyx_mm=(3.0, 2.0, 2.0))
    write_label_map(trained.validation(0), truth(0), geometry)


def with_an_unknown_value(trained: Trained) -> None:
    write_label_map(trained.validation(0), truth(0) * np.uint8(3), GEOMETRY)


def trained_on_everything(trained: Trained) -> None:
    shutil.move(trained.model / "fold_0", trained.model / "fold_all")
    shutil.rmtree(trained.model / "fold_1")


def not_validated(trained: Trained) -> None:
    shutil.rmtree(trained.model / "fold_0" / "validation")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_references, ("no reference mask for any of the 8", "labelsTr")),
        (without_a_mask, ("no label map of 'c4'", "1 of 4 missing")),
        (with_a_mask_too_many, ("'c5', which is no validation case of fold 0",)),
        (with_a_test_case_in_a_fold, ("'t0' of the test split",)),
        (with_other_labels, ("cyst", "'lesion'")),
        (with_another_grid, ("c0.nii.gz", "another spacing", "origin")),
        (with_an_unknown_value, ("c0.nii.gz", "the value 3", "[0, 1, 2]")),
        (trained_on_everything, ("neither a run, a model nor an evaluation",)),
        (not_validated, ("fold_0", "no folder 'validation'")),
    ],
)
def test_learning_from_damaged_or_unfit_runs(
    spoil: Callable[[Trained], None],
    words: tuple[str, ...],
    cleanup: Callable[..., Any],
    trained: Trained,
    tmp_path: Path,
) -> None:
    spoil(trained)
    plan = tmp_path / "cleanup.json"
    _one_message(cleanup("learn", trained.model, "--out", plan), *words)
    assert not plan.exists()


def test_learning_from_several_datasets_or_one_case_twice(
    cleanup: Callable[..., Any], trained: Trained, tmp_path: Path
) -> None:
    run = trained.model / "fold_0"
    again = cleanup("learn", run, run, "--out", tmp_path / "cleanup.json")
    _one_message(again, "label maps of case 'c0'", "every case once")
    other = tmp_path / "other__plans__3d_fullres"
    shutil.copytree(trained.model, other)
    plan = {"dataset_name": "Dataset602_x", "plans_name": "plans", "configurations": {}}
    write_json(other / "plans.json", plan)
    mixed = cleanup("learn", run, other / "fold_1", "--out", tmp_path / "cleanup.json")
    _one_message(mixed, "several datasets", NAME, "Dataset602_x")


@pytest.fixture
def predictions(tmp_path: Path, trained: Trained) -> Path:
    """A folder as `predict` leaves it: two cases that worked, one that did not, one map more."""
    folder = tmp_path / "predictions"
    rows = [
        {"case": case, "status": status, "message": "", "seconds": "1"}
        for case, status in (("c0", "ok"), ("c1", "ok"), ("c2", "failed"))
    ]
    write_csv(folder / "predictions.csv", list(rows[0]), rows)
    for case in range(2):
        write_label_map(folder / f"c{case}.nii.gz", faulty(case), GEOMETRY)
    (folder / "c0_attention_kind.nii.gz").write_bytes(b"no label map")
    _manifest(folder, model=str(trained.model))
    return folder


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "cleanup.json"
    CleanupPlan.of(
        DESCRIPTION.label_scheme, [KeepLargest(regions=("organ",)), FillHoles(region="organ")]
    ).write(path)
    return path


def test_applying_goes_by_the_finished_cases_and_keeps_the_class_answers(
    cleanup: Callable[..., Any], predictions: Path, plan: Path, tmp_path: Path
) -> None:
    finished = cleanup("apply", predictions, "--plan", plan, "--out", tmp_path / "out")
    assert finished.code == 0, finished.err
    written = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert written == ["c0.nii.gz", "c1.nii.gz", "manifest.json", "predictions.csv"]
    for case in range(2):
        mended = read_label_map(tmp_path / "out" / f"c{case}.nii.gz").array[0]
        np.testing.assert_array_equal(mended, truth(case))
    kept, made = (f / "predictions.csv" for f in (predictions, tmp_path / "out"))
    assert made.read_bytes() == kept.read_bytes()


def test_a_damaged_label_map_is_named_and_the_others_are_mended(
    cleanup: Callable[..., Any], predictions: Path, plan: Path, tmp_path: Path
) -> None:
    (predictions / "c0.nii.gz").write_bytes(b"broken")
    finished = cleanup("apply", predictions, "--plan", plan, "--out", tmp_path / "out")
    assert finished.code == 2
    assert list(finished.json()["failed"]) == ["c0"]
    assert (tmp_path / "out" / "c1.nii.gz").is_file()
    assert not (tmp_path / "out" / "c0.nii.gz").exists()


def test_a_withheld_step_names_its_cases(
    cleanup: Callable[..., Any], predictions: Path, tmp_path: Path
) -> None:
    path = tmp_path / "strict.json"
    step = RemoveSmall(regions=("lesion",), min_ml=100)
    CleanupPlan.of(DESCRIPTION.label_scheme, [step]).write(path)
    finished = cleanup("apply", predictions, "--plan", path, "--out", tmp_path / "out")
    (entry,) = finished.json()["cleanup"]["steps"]
    assert entry["withheld"] == ["c0", "c1"]
    assert entry["changed_cases"] == 0


def test_a_folder_that_does_not_tell_its_labels_is_told_of(
    cleanup: Callable[..., Any], predictions: Path, plan: Path, tmp_path: Path
) -> None:
    (predictions / "manifest.json").unlink()
    finished = cleanup("apply", predictions, "--plan", plan, "--out", tmp_path / "out")
    assert finished.code == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert "only the values were checked" in manifest["warnings"][0]


def test_plans_and_folders_that_do_not_fit(
    cleanup: Callable[..., Any], predictions: Path, plan: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    plain = LabelScheme.from_dataset_json(
        {"background": 0, "organ": 1, "lesion": 2}, None, where="test"
    )
    other = tmp_path / "other.json"
    CleanupPlan.of(plain, [KeepInside(region="lesion", organ="organ", margin_mm=3)]).write(other)
    _one_message(
        cleanup("apply", predictions, "--plan", other, "--out", out), "other.json", "labels of"
    )
    unknown = tmp_path / "unknown.json"
    unknown.write_text(plan.read_text().replace("keep_largest", "sharpen"))
    _one_message(cleanup("apply", predictions, "--plan", unknown, "--out", out), "sharpen")
    _one_message(cleanup("apply", predictions, "--plan", plan, "--out", predictions), "--out")
    _one_message(cleanup("apply", predictions, "--out", out), "no --plan")
    empty = tmp_path / "empty"
    empty.mkdir()
    _one_message(cleanup("apply", empty, "--plan", plan, "--out", out), "no label maps")
    _one_message(cleanup("apply", predictions, "--plan", plan, "--out", out, "--seed", 1), "--seed")
    _one_message(cleanup("learn", predictions, "--plan", plan, "--out", out), "--plan")
    assert not out.exists()
