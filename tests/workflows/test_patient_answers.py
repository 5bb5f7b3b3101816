"""B06, B07: `segduet patients`, from masks and answers to one answer per patient."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError, RequestError
from segduet.core.folders import DataRoot
from segduet.core.geometry import Geometry
from segduet.core.tasks import TaskSpec
from segduet.evaluation.case_models import ForestSettings, LogisticSettings
from segduet.evaluation.patient_models import PatientModelSettings
from segduet.evaluation.patients import PatientRule
from segduet.inference.answers_file import AnswerRow, write_answers
from segduet.io.images import write_label_map
from segduet.workflows.patient_answers import answer_patients, apply_patient_model
from segduet.workflows.patient_inputs import read_frozen_features
from segduet.workflows.patient_requests import ApplyRequest, PatientsRequest

TASK = TaskSpec(name="class", classes=("weak", "strong"), evidence_region="LV")
GRID = Geometry(shape_zyx=(2, 32, 32), spacing_zyx_mm=(8.0, 1.0, 1.0))
ROOT = DataRoot.resolve(Path("nowhere"), {})
WALLS = (("MYO", "LV"),)
RECORD = "patient-model.json"
SETTINGS = PatientModelSettings(
    models={
        "morphometry": (ForestSettings(num_trees=10), LogisticSettings()),
        "features": (LogisticSettings(),),
        "probabilities": (LogisticSettings(),),
    },
    num_folds=2,
)


def heart(inner: float) -> np.ndarray:
    y, x = np.mgrid[:32, :32] - 15.5
    radius = np.hypot(y, x)
    ring = np.where(radius <= inner, 2, np.where(radius <= inner + 3, 1, 0))
    return np.stack([ring, ring]).astype(np.uint8)


def write_dataset(folder: Path, *, task: TaskSpec = TASK, num_patients: int = 16) -> Path:
    """Patients of two images; the strong ones pump, which no single image tells.

    The last four are split `val`. Predictions (masks as the references, with a lying network) lie
    in `predictions`.
    """
    rng = np.random.default_rng(0)
    records, rows = [], []
    for index in range(num_patients):
        name = TASK.classes[index % 2]
        large = rng.uniform(8, 11)
        small = large - (0.5 if name == "weak" else rng.uniform(3.0, 4.0))
        for phase, inner in (("a", small), ("b", large)):
            case = f"p{index:02d}_{phase}"
            for target in ("labelsTr", "predictions"):
                (folder / target).mkdir(parents=True, exist_ok=True)
                write_label_map(folder / target / f"{case}.nii.gz", heart(inner), GRID)
            split = "val" if index >= num_patients - 4 else "train"
            labels = {"class": name}
            records.append(CaseRecord(case=case, patient=case[:3], split=split, labels=labels))
            chance = float(rng.uniform(0.2, 0.8))
            rows.append(
                AnswerRow(
                    case=case,
                    status="ok",
                    labels={"class": TASK.classes[int(chance < 0.5)]},
                    probabilities={"class": (chance, 1 - chance)},
                    evidence={"class": 100.0 if phase == "a" else 300.0},
                )
            )
    CaseTable(records=tuple(records)).write(folder / "cases.csv", [task])
    write_answers(folder / "predictions" / "predictions.csv", rows, [TASK])
    DatasetDescription(
        channel_names={"0": "MR"},
        labels={"background": 0, "MYO": 1, "LV": 2},
        numTraining=len(records),
        file_ending=".nii.gz",
        segduet={"tasks": [task.model_dump()]},
    ).write(folder / "dataset.json")
    return folder


@pytest.fixture(scope="module")
def hearts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return write_dataset(tmp_path_factory.mktemp("hearts"))


@pytest.fixture
def own_hearts(hearts: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(hearts, tmp_path / "hearts"))


def request(dataset: Path, out: Path, **changes: Any) -> PatientsRequest:
    plain = PatientsRequest(
        dataset=str(dataset),
        predictions=dataset / "predictions",
        out=out,
        walls=WALLS,
        score_split="val",
        settings=SETTINGS,
    )
    return replace(plain, **changes)


@pytest.fixture(scope="module")
def answered(hearts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fitted on `train`, scored on `val`."""
    out = tmp_path_factory.mktemp("answered")
    answer_patients(ROOT, request(hearts, out))
    return out


def rows_of(out: Path) -> dict[str, dict[str, str]]:
    with (out / "patients.csv").open(encoding="utf-8") as stream:
        return {row["patient"]: row for row in csv.DictReader(stream)}


def test_pumping_is_seen_by_the_measurements_and_not_by_the_lying_network(answered: Path) -> None:
    content = json.loads((answered / "patients.json").read_text())
    assert (content["n_patients"], content["n_images"]) == (4, 8)
    assert content["parts"]["morphometry_forest"]["accuracy"]["value"] == 1.0
    assert content["parts"]["chosen"]["macro_f1"]["value"] == 1.0
    assert set(content["parts"]) == {
        *("network_mean", "morphometry_forest", "morphometry_logistic", "fused", "chosen")
    }
    assert content["selected_from_parts"] == 4
    assert content["choice"]["chosen"] != "network_mean"
    assert content["choice"]["fitted_on_patients"] == 12
    assert set(content["parts"]["network_mean"]["accuracy"]) >= {"value", "ci95", "n"}


def test_the_splits_to_fit_on_and_to_answer_can_be_exchanged(hearts: Path, tmp_path: Path) -> None:
    exchanged = request(hearts, tmp_path, fit_split="val", score_split="train")
    found = answer_patients(ROOT, exchanged)
    assert (found.outcome["n_patients"], found.outcome["choice"]["fitted_on_patients"]) == (12, 4)


def test_every_patient_has_a_row_with_every_part(answered: Path) -> None:
    rows = rows_of(answered)
    assert list(rows) == ["p12", "p13", "p14", "p15"]
    assert [rows[p]["reference"] for p in rows] == ["weak", "strong"] * 2
    assert [rows[p]["answer"] for p in rows] == ["weak", "strong"] * 2
    for row in rows.values():
        chances = [float(row[f"chosen:{name}"]) for name in TASK.classes]
        assert sum(chances) == pytest.approx(1)
        assert row["images"] == "2"


def test_the_features_are_the_hand_worked_ejection_fraction(answered: Path, hearts: Path) -> None:
    with (answered / "features.csv").open(encoding="utf-8") as stream:
        rows = {row["patient"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["p12", "p13", "p14", "p15"]
    assert float(rows["p13"]["first.LV.volume_ml"]) > float(rows["p13"]["last.LV.volume_ml"])
    ratio = float(rows["p13"]["last.LV.volume_ml"]) / float(rows["p13"]["first.LV.volume_ml"])
    assert float(rows["p13"]["LV.ejection_fraction"]) == pytest.approx(1 - ratio)
    assert float(rows["p13"]["first.MYO.thickness_mean_mm"]) == pytest.approx(3, abs=0.6)


def test_a_model_that_is_read_again_gives_identical_answers(
    answered: Path, hearts: Path, tmp_path: Path
) -> None:
    """Refitted from its tables, without pickle."""
    files = sorted(p.name for p in (answered / "model").iterdir())
    assert files == ["patient-model.json", "training-morphometry.csv", "training-network_mean.csv"]
    applied = ApplyRequest(
        model=answered / "model",
        dataset=str(hearts),
        predictions=hearts / "predictions",
        out=tmp_path,
        score_split="val",
    )
    manifest = apply_patient_model(ROOT, applied)
    assert (tmp_path / "patients.csv").read_text() == (answered / "patients.csv").read_text()
    assert manifest.warnings == []


def test_a_changed_training_table_is_noticed_or_refused(answered: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(answered / "model", tmp_path / "model"))
    table = model / "training-morphometry.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    applied = ApplyRequest(model=model, dataset="x", predictions=tmp_path, out=tmp_path)
    with pytest.raises(DataError, match=r"other patients than in the record"):
        apply_patient_model(ROOT, applied)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ((RECORD, '"order_by": "LV"', '"order_by": null'), "several images of"),
        ((RECORD, '"LV": 2', '"RV": 2'), "a dataset with the labels"),
        ((RECORD, '"chosen": "', '"chosen": "an'), "chosen when the model was fitted"),
        ((RECORD, '"schema_version": 1', '"schema_version": 2'), "found 2"),
        (("training-morphometry.csv", "\np00,", "\np00,x"), "could not convert"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    answered: Path, hearts: Path, tmp_path: Path, edit: tuple[str, str, str], said: str
) -> None:
    file, old, new = edit
    model = Path(shutil.copytree(answered / "model", tmp_path / "model"))
    text = (model / file).read_text()
    assert old in text
    (model / file).write_text(text.replace(old, new))
    applied = ApplyRequest(
        model=model, dataset=str(hearts), predictions=hearts / "predictions", out=tmp_path / "out"
    )
    with pytest.raises((DataError, RequestError), match=said):
        apply_patient_model(ROOT, applied)


def test_out_of_fold_answers_cover_every_patient(hearts: Path, tmp_path: Path) -> None:
    manifest = answer_patients(ROOT, request(hearts, tmp_path, score_split=None))
    assert manifest.outcome["n_patients"] == 16
    assert manifest.outcome["parts"]["chosen"]["accuracy"]["value"] >= 0.9
    assert sum(manifest.outcome["choice"]["chosen_in_folds"].values()) == 2


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        (PatientRule.EVIDENCE_WEIGHTED, "network_evidence_weighted"),
        (PatientRule.TRAINED, "probabilities_logistic"),
    ],
)
def test_the_declared_rule_answers_for_the_network(
    hearts: Path, tmp_path: Path, rule: PatientRule, part: str
) -> None:
    manifest = answer_patients(ROOT, request(hearts, tmp_path, rule=rule))
    assert part in manifest.outcome["parts"]
    assert "network_mean" not in manifest.outcome["parts"]
    if rule is PatientRule.TRAINED:
        return
    with (hearts / "predictions" / "predictions.csv").open(encoding="utf-8") as stream:
        cases = {row["case"]: row for row in csv.DictReader(stream)}
    one, two = (float(cases[f"p12_{phase}"]["class:weak"]) for phase in "ab")
    expected = (one + 3 * two) / 4
    assert float(rows_of(tmp_path)["p12"][f"{part}:weak"]) == pytest.approx(expected)


def test_frozen_features_become_a_probe_of_their_own(hearts: Path, tmp_path: Path) -> None:
    cases = CaseTable.read(hearts / "cases.csv", [TASK])
    vectors = {r.case: np.full(3, float(r.labels["class"] == "strong"), np.float32) for r in cases}
    np.savez(tmp_path / "frozen.npz", **vectors)
    found = answer_patients(ROOT, request(hearts, tmp_path, features=tmp_path / "frozen.npz"))
    assert found.outcome["parts"]["features_logistic"]["accuracy"]["value"] == 1.0
    del vectors["p03_a"]
    np.savez(tmp_path / "fewer.npz", **vectors)
    with pytest.raises(DataError, match=r"case 'p03_a': found no frozen features \(1 of"):
        answer_patients(ROOT, request(hearts, tmp_path, features=tmp_path / "fewer.npz"))


@pytest.mark.parametrize("kind", ["one array", "objects", "text", "no archive"])
def test_features_that_are_no_vectors_are_refused_without_unpickling(
    tmp_path: Path, kind: str
) -> None:
    source = tmp_path / "frozen.npz"
    with source.open("wb") as stream:
        match kind:
            case "one array":
                np.save(stream, np.ones(3))
            case "objects":
                np.savez(stream, a=np.array([{}], dtype=object))
            case "text":
                np.savez(stream, a=np.array(["x"]))
            case "no archive":
                stream.write(b"x")
    with pytest.raises(DataError, match=r"frozen\.npz: found") as refused:
        read_frozen_features(source)
    assert "unsafely" not in str(refused.value), "numpy advises to unpickle it"


def test_fitted_on_reference_masks_needs_predictions_of_the_answered_only(
    own_hearts: Path, tmp_path: Path
) -> None:
    """The network's answers, unknown for the training patients, are reported and not fused."""
    predictions = own_hearts / "predictions"
    kept = ("p12", "p13", "p14", "p15")
    for mask in predictions.glob("*.nii.gz"):
        if not mask.name.startswith(kept):
            mask.unlink()
    table = predictions / "predictions.csv"
    lines = table.read_text().splitlines()
    chosen = [line for line in lines if line.startswith(("case", *kept))]
    table.write_text("\n".join(chosen) + "\n")
    found = answer_patients(ROOT, request(own_hearts, tmp_path, fit_masks="reference"))
    assert found.outcome["parts"]["chosen"]["accuracy"]["value"] == 1.0
    assert "network_mean" in found.outcome["parts"]
    assert "network_mean" not in found.outcome["choice"]["out_of_fold"]
    assert found.warnings == [
        "network_mean is reported and not fused: the network has no answers for the training "
        "patients"
    ]
    with pytest.raises(DataError, match=r"patient 'p00', case 'p00_a': found no predicted mask"):
        answer_patients(ROOT, request(own_hearts, tmp_path))
    trained = request(own_hearts, tmp_path, fit_masks="reference", rule=PatientRule.TRAINED)
    with pytest.raises(RequestError, match=r"--aggregation trained: found no answers"):
        answer_patients(ROOT, trained)


def test_a_patient_with_one_image_is_answered_and_named(own_hearts: Path, tmp_path: Path) -> None:
    lines = (own_hearts / "cases.csv").read_text().splitlines()
    (own_hearts / "cases.csv").write_text(
        "\n".join(line for line in lines if not line.startswith("p13_a")) + "\n"
    )
    found = answer_patients(ROOT, request(own_hearts, tmp_path))
    assert rows_of(tmp_path)["p13"]["images"] == "1"
    assert found.outcome["fewer_images"] == {"p13": 1}
    assert "patient p13 has 1 image(s), fewer than most" in found.warnings
    assert "the patient has one image" in found.outcome["undefined_features"]


def write_images(dataset: Path, shape: tuple[int, int, int] = GRID.shape_zyx) -> None:
    """Images whose cavity is brighter than its surroundings in weak patients only."""
    grid = replace(GRID, shape_zyx=shape)
    for record in CaseTable.read(dataset / "cases.csv", [TASK]):
        rng = np.random.default_rng(len(record.case))
        image = rng.integers(90, 110, shape).astype(np.uint8)
        mask = heart(8.0)[:, : shape[1]]
        image[mask == 2] += 80 if record.labels["class"] == "weak" else 0
        write_label_map(dataset / "imagesTr" / f"{record.case}_0000.nii.gz", image, grid)


def test_intensities_tell_what_shapes_do_not(own_hearts: Path, tmp_path: Path) -> None:
    """All hearts pump alike here; measured with intensity the answer is there, without it not."""
    for mask in (own_hearts / "predictions").glob("*.nii.gz"):
        write_label_map(mask, heart(8.0 if "_a" in mask.name else 10.0), GRID)
    write_images(own_hearts)
    off = answer_patients(ROOT, request(own_hearts, tmp_path / "off"))
    on = answer_patients(ROOT, request(own_hearts, tmp_path / "on", with_intensity=True))
    assert off.outcome["parts"]["morphometry_forest"]["accuracy"]["value"] == 0.5
    assert on.outcome["parts"]["morphometry_forest"]["accuracy"]["value"] == 1.0


def test_intensities_need_an_image_on_the_grid_of_the_mask(
    own_hearts: Path, tmp_path: Path
) -> None:
    wanted = request(own_hearts, tmp_path, with_intensity=True)
    with pytest.raises(DataError, match=r"found no image in the dataset.*--intensity"):
        answer_patients(ROOT, wanted)
    write_images(own_hearts, (2, 30, 32))
    with pytest.raises(DataError, match=r"an image of \(2, 30, 32\) voxels beside a mask of"):
        answer_patients(ROOT, wanted)


def test_an_empty_mask_is_no_crash_and_the_reason_is_counted(
    own_hearts: Path, tmp_path: Path
) -> None:
    for phase in "ab":
        target = own_hearts / "predictions" / f"p14_{phase}.nii.gz"
        write_label_map(target, np.zeros(GRID.shape_zyx, np.uint8), GRID)
    found = answer_patients(ROOT, request(own_hearts, tmp_path))
    assert found.outcome["undefined_features"]["the region is empty in every image"] == 2
    assert rows_of(tmp_path)["p14"]["answer"] in TASK.classes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"settings": SETTINGS.model_copy(update={"num_folds": 9})},
            r"class 'weak': found 6 cases of 6 patients.*Ask for fewer folds",
        ),
        ({"score_split": "train"}, r"--score-split train: found the split that is fitted on"),
        ({"score_split": "test"}, r"split 'test': found no case"),
        ({"task": "colour"}, r"--task colour: found 0 fitting tasks"),
        ({"order_by": "RV"}, r"--order-by RV: found no such region"),
        ({"walls": (("MYO", "RV"),)}, r"wall 'MYO' around 'RV': found no region 'RV'"),
        ({"features": Path("missing.npz")}, r"missing.npz: found no such file"),
    ],
)
def test_what_cannot_be_done_is_refused_with_one_message(
    hearts: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises((DataError, RequestError), match=said):
        answer_patients(ROOT, request(hearts, tmp_path, **changes))
    assert list(tmp_path.iterdir()) == []


def test_several_images_without_a_region_to_order_them_are_refused(tmp_path: Path) -> None:
    task = TASK.model_copy(update={"evidence_region": None})
    dataset = write_dataset(tmp_path / "plain", task=task, num_patients=8)
    with pytest.raises(RequestError, match=r"no evidence region, and patient 'p00' has several"):
        answer_patients(ROOT, request(dataset, tmp_path / "out"))


def test_a_failed_or_missing_answer_is_not_left_out_silently(
    own_hearts: Path, tmp_path: Path
) -> None:
    table = own_hearts / "predictions" / "predictions.csv"
    kept = [line for line in table.read_text().splitlines() if not line.startswith("p15_b")]
    table.write_text("\n".join(kept) + "\n")
    with pytest.raises(DataError, match=r"case 'p15_b': found no answer to 'class' \(1 of 8"):
        answer_patients(ROOT, request(own_hearts, tmp_path))


def test_a_rule_without_a_network_that_classifies_is_refused(
    own_hearts: Path, tmp_path: Path
) -> None:
    (own_hearts / "predictions" / "predictions.csv").unlink()
    with pytest.raises(RequestError, match=r"--aggregation mean: found no answers to 'class'"):
        answer_patients(ROOT, request(own_hearts, tmp_path, rule=PatientRule.MEAN))


def test_images_of_one_patient_with_two_classes_are_refused(
    own_hearts: Path, tmp_path: Path
) -> None:
    table = (own_hearts / "cases.csv").read_text()
    (own_hearts / "cases.csv").write_text(
        table.replace("p00_a,p00,,train,weak", "p00_a,p00,,train,strong")
    )
    with pytest.raises(DataError, match=r"patient 'p00': found images of the classes"):
        answer_patients(ROOT, request(own_hearts, tmp_path))


def test_the_command_fits_and_applies(
    segduet: Callable[..., Any], hearts: Path, tmp_path: Path
) -> None:
    shared = (str(hearts), "--predictions", hearts / "predictions", "--score-split", "val")
    fitted = segduet(
        *("patients", *shared, "--out", tmp_path / "fit", "--wall", "MYO:LV"),
        *("--folds", "2", "--workers", "1", "--json"),
    )
    assert fitted.code == 0, fitted.err
    assert fitted.json()["parts"]["chosen"]["accuracy"]["value"] == 1.0
    model = ("--model", tmp_path / "fit" / "model")
    applied = segduet("patients", *shared, "--out", tmp_path / "new", *model, "--workers", "1")
    assert applied.code == 0, applied.err
    assert "chosen: accuracy 1.000" in applied.out
    refused = segduet("patients", *shared, "--out", tmp_path / "no", *model, "--folds", "3")
    assert refused.code == 2
    assert "options that a fitted model has settled" in refused.err
    wrong = segduet("patients", *shared, "--out", tmp_path / "no", "--wall", "MYO")
    assert wrong.code == 2
    assert "expected WALL:CAVITY" in wrong.err
