"""B16: `segduet calibrate`: learned on unseen cases, applied by `predict`, then checked."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segduet.core.answers import answer_probabilities
from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.description import DatasetDescription
from segduet.core.errors import RequestError
from segduet.core.files import read_csv, read_json, write_json
from segduet.core.geometry import Geometry
from segduet.core.tasks import TaskSpec
from segduet.evaluation.calibration_learning import CalibrationSettings
from segduet.inference.answers_file import AnswerRow, read_answers, write_answers
from segduet.inference.bundles.manifest import CarriedCalibration
from segduet.io.images import read_label_map, read_stored_image, write_label_map
from segduet.workflows.calibrating import require_sets
from segduet.workflows.loading import LoadedModel
from segduet.workflows.python_interface import load

NUM_CASES = 40
TASK = TaskSpec(name="class", kind="binary", classes=("bright", "dark"))
GRID = Geometry(shape_zyx=(2, 4, 4), spacing_zyx_mm=(1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Validated:
    """The road's trained model with overconfident answers to forty cases of its validation fold.

    Half of them are dark and have no blob in their reference; bright ones do.
    """

    road: Any
    task: TaskSpec

    @property
    def answers(self) -> Path:
        return self.road.run / "validation" / "predictions.csv"

    @property
    def splits(self) -> Path:
        return self.road.preprocessed / "splits_final.json"

    def rewrite(self, change: Callable[[list[AnswerRow]], list[AnswerRow]]) -> None:
        write_answers(self.answers, change(read_answers(self.answers, (self.task,))), (self.task,))


@pytest.fixture(scope="module")
def made(road: Any, tmp_path_factory: pytest.TempPathFactory) -> Validated:
    mine = road.copy(tmp_path_factory.mktemp("calibrating") / "road")
    (task,) = DatasetDescription.read(mine.preprocessed / "dataset.json").tasks
    found = Validated(road=mine, task=task)
    rng = np.random.default_rng(0)
    logits = 1.2 * rng.normal(size=(NUM_CASES, task.num_outputs))
    honest = answer_probabilities(task, logits)
    truth = [task.classes[int(rng.choice(2, p=p))] for p in honest]
    records = [
        CaseRecord(case=f"v{i}", patient=f"w{i}", labels={task.name: truth[i]})
        for i in range(NUM_CASES)
    ]
    test = CaseRecord(case="t0", patient="t0", split="test", labels={task.name: truth[0]})
    for folder in (mine.preprocessed, mine.raw):
        CaseTable(records=(*records, test)).write(folder / "cases.csv", (task,))
    write_json(found.splits, [{"train": [], "val": [r.case for r in records]}])
    for record in records:
        mask = np.zeros(GRID.shape_zyx, np.uint8)
        mask[0, 0, 0] = record.labels[task.name] == "bright"
        write_label_map(mine.raw / "labelsTr" / f"{record.case}.nii.gz", mask, GRID)
    # whoever looks at the test case stumbles
    (mine.raw / "labelsTs").mkdir(exist_ok=True)
    (mine.raw / "labelsTs" / "t0.nii.gz").write_bytes(b"do not read")
    too_sure = answer_probabilities(task, 4 * logits)
    rows = [
        AnswerRow(
            case=record.case,
            status="ok",
            labels={task.name: task.classes[int(chances.argmax())]},
            probabilities={task.name: tuple(chances)},
            evidence={task.name: 1.0},
        )
        for record, chances in zip(records, too_sure, strict=True)
    ]
    write_answers(found.answers, rows, (task,))
    return found


@pytest.fixture
def validated(made: Validated, tmp_path: Path) -> Validated:
    """The same, for a test that changes something."""
    return Validated(road=made.road.copy(tmp_path / "road"), task=made.task)


def learn(segduet: Callable[..., Any], of: Validated, out: Path, *more: object) -> Any:
    return segduet(
        *("calibrate", "learn", of.road.model, "--data-root", of.road.data),
        *("--workers", 1, "--out", out, "--json", *more),
    )


@pytest.fixture(scope="module")
def learned(
    made: Validated, segduet: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A calibration with two levels."""
    out = tmp_path_factory.mktemp("learned") / "calibration.json"
    done = learn(segduet, made, out, "--alpha", 0.2, "--alpha", 0.4)
    assert done.code == 0, done.err
    return out


@pytest.fixture(scope="module")
def predict(
    made: Validated, segduet: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Any, Path]]:
    """`predict(*options, model=None, out=None)` on two images: how it ended, and its folder."""
    images = tmp_path_factory.mktemp("images")
    for case in ("c6", "c7"):
        shutil.copy(made.road.raw / "imagesTr" / f"{case}_0000.nii.gz", images)

    def run(
        *options: object, model: Path | None = None, out: Path | None = None
    ) -> tuple[Any, Path]:
        out = out or tmp_path_factory.mktemp("predicted") / "out"
        where = (model or made.road.model, images, "--out", out)
        return segduet("predict", *where, "--no-tta", "--json", *options), out

    return run


@pytest.fixture(scope="module")
def plain(predict: Callable[..., tuple[Any, Path]]) -> Path:
    """Answers without a calibration."""
    done, out = predict()
    assert done.code == 0, done.err
    return out


def rows_of(folder: Path) -> list[dict[str, str]]:
    return read_csv(folder / "predictions.csv")[1]


def test_what_made_the_answers_too_certain_is_found_and_every_figure_is_told(
    learned: Path, made: Validated
) -> None:
    """Learned from forty cases; before and after on the same cases, cross-fitted, with n."""
    content = read_json(learned)
    (own,) = content["tasks"]
    assert 2 < own["temperatures"][0] < 8
    assert content["dataset"] == "Dataset501_tiny"
    assert list(content["weights_sha256"]) == ["fold_0/model.safetensors"]
    figures = own["evidence"]["reliability"]["class"]
    for name in ("nll", "brier", "ece"):
        assert figures[name]["after"]["value"] < figures[name]["before"]["value"]
        assert figures[name]["difference"]["n"] == NUM_CASES
        assert len(figures[name]["difference"]["ci95"]) == 2
    assert [level["alpha"] for level in own["sets"]] == [0.2, 0.4]
    assert [level["alpha"] for level in own["evidence"]["sets"]] == [0.2, 0.4]
    assert own["evidence"]["abstention"]["curve"][-1]["coverage"] == 1
    rules = {rule["answer"]: rule["region"] for rule in own["consistency"]["classes"]}
    assert rules == {"bright": "always", "dark": "never"}
    manifest = read_json(learned.with_name("calibration_manifest.json"))
    assert manifest["command"] == "calibrate learn"
    assert manifest["outcome"]["folders"] == [str(made.answers.parent)]


def test_on_differs_from_off_and_the_answer_stays(
    predict: Callable[..., tuple[Any, Path]], plain: Path, learned: Path, made: Validated
) -> None:
    """Less certain, with sets, abstentions and flags; off the file is as before."""
    done, out = predict("--calibration", learned)
    assert done.code == 0, done.err
    added = ["class_set", "class_abstain", "consistency"]
    columns = read_csv(plain / "predictions.csv")[0]
    assert read_csv(out / "predictions.csv")[0] == [*columns, *added]
    (own,) = read_json(learned)["tasks"]
    least = own["sets"][0]["least_probability"]
    for before, after in zip(rows_of(plain), rows_of(out), strict=True):
        assert after["class"] == before["class"]
        said = {name: float(before[f"class:{name}"]) for name in made.task.classes}
        now = {name: float(after[f"class:{name}"]) for name in made.task.classes}
        odds = (said["dark"] / said["bright"]) ** (1 / own["temperatures"][0])
        assert now["dark"] / now["bright"] == pytest.approx(odds, rel=1e-4)
        held = [name for name in made.task.classes if said[name] >= least[name]]
        assert after["class_set"] == "|".join(held)
        assert after["class_abstain"] == ("no" if held == [after["class"]] else "yes")
        mask = read_label_map(out / f"{after['case']}.nii.gz").array
        fits = mask.any() == (after["class"] == "bright")
        without = "with" if mask.any() else "without"
        told = f"class: {after['class']} {without} any foreground"
        assert after["consistency"] == ("ok" if fits else told)
    manifest = read_json(out / "manifest.json")
    applied = manifest["outcome"]["calibration"]
    assert manifest["arguments"]["calibration"] == str(learned)
    assert applied["tasks"]["class"]["alpha"] == 0.2
    assert applied["abstained"]["class"] == sum(r["class_abstain"] == "yes" for r in rows_of(out))
    flagged = {r["case"] for r in rows_of(out) if r["consistency"] != "ok"}
    assert set(applied["flagged"]) == flagged
    assert read_json(plain / "manifest.json")["outcome"]["calibration"] is None


def test_a_rarer_promise_makes_smaller_sets_and_a_threshold_withholds_by_itself(
    predict: Callable[..., tuple[Any, Path]],
    segduet: Callable[..., Any],
    made: Validated,
    learned: Path,
    tmp_path: Path,
) -> None:
    """--alpha chooses among what was learned; --min-probability is the other rule."""
    (own,) = read_json(learned)["tasks"]
    strict, loose = (level["least_probability"] for level in own["sets"])
    assert all(strict[name] <= loose[name] for name in strict)
    done, out = predict("--calibration", learned, "--alpha", 0.4)
    assert done.code == 0, done.err
    assert read_json(out / "manifest.json")["outcome"]["calibration"]["tasks"]["class"]["alpha"]
    for first, row in zip(rows_of(predict("--calibration", learned)[1]), rows_of(out), strict=True):
        assert set(filter(None, row["class_set"].split("|"))) <= set(first["class_set"].split("|"))
    sure = tmp_path / "sure.json"
    assert learn(segduet, made, sure, "--min-probability", 0.999).code == 0
    _, withheld = predict("--calibration", sure)
    assert [row["class_abstain"] for row in rows_of(withheld)] == ["yes", "yes"]
    assert learn(segduet, made, sure, "--min-probability", 0.001).code == 0
    _, answered = predict("--calibration", sure)
    assert [row["class_abstain"] for row in rows_of(answered)] == ["no", "no"]


def test_a_prediction_goes_on_with_its_own_calibration_only(
    predict: Callable[..., tuple[Any, Path]], learned: Path, tmp_path: Path
) -> None:
    first, out = predict("--calibration", learned)
    before = (out / "predictions.csv").read_text()
    again, _ = predict("--calibration", learned, "--resume", out=out)
    assert again.code == 0, again.err
    assert (out / "predictions.csv").read_text() == before
    assert again.json()["calibration"] == first.json()["calibration"]
    refused(predict("--calibration", learned, "--alpha", 0.4, "--resume", out=out)[0], "--resume")
    refused(predict("--resume", out=out)[0], "--resume", "calibration")


def test_no_rule_no_column(
    validated: Validated,
    segduet: Callable[..., Any],
    predict: Callable[..., tuple[Any, Path]],
    tmp_path: Path,
) -> None:
    shutil.rmtree(validated.road.raw / "labelsTr")
    out = tmp_path / "c.json"
    assert learn(segduet, validated, out).code == 0
    assert read_json(out)["tasks"][0]["consistency"] is None
    done, folder = predict("--calibration", out)
    assert done.code == 0, done.err
    columns = read_csv(folder / "predictions.csv")[0]
    assert "consistency" not in columns
    assert "class_set" in columns
    assert read_json(folder / "manifest.json")["outcome"]["calibration"]["flagged"] is None


def told_by(loaded: LoadedModel, made: Validated, case: str) -> dict[str, Any]:
    """What Python says about a case, as `judged_columns` has it."""
    image = made.road.raw / "imagesTr" / f"{case}_0000.nii.gz"
    told = loaded.predict(read_stored_image([image]), case)
    return {
        "answer": told.label(made.task),
        "probabilities": told.probabilities["class"].tolist(),
        "set": told.sets.get("class"),
        "abstains": told.abstains.get("class"),
        "consistency": told.consistency,
    }


def judged_columns(row: dict[str, str]) -> dict[str, Any]:
    """The same of a line of predictions.csv, in whose columns it may be missing."""
    held = row.get("class_set")
    return {
        "answer": row["class"],
        "probabilities": [float(row[f"class:{name}"]) for name in TASK.classes],
        "set": None if held is None else tuple(filter(None, held.split("|"))),
        "abstains": {"yes": True, "no": False}.get(row.get("class_abstain", "")),
        "consistency": row.get("consistency"),
    }


def test_python_takes_the_calibration_that_it_is_given(
    predict: Callable[..., tuple[Any, Path]], learned: Path, made: Validated
) -> None:
    """And refuses, as the command does, one that cannot be."""
    _, out = predict("--calibration", learned, "--alpha", 0.4)
    loaded = load(made.road.model, mirrored=False, calibration=learned, alpha=0.4)
    for row in rows_of(out):
        assert told_by(loaded, made, row["case"]) == judged_columns(row)
    for arguments, words in (
        ({"alpha": 0.3, "calibration": learned}, "--alpha 0.3"),
        ({"alpha": 0.2}, "a calibration with sets"),
        ({"no_calibration": True}, "a bundle that carries one"),
    ):
        with pytest.raises(RequestError, match=words):
            load(made.road.model, mirrored=False, **arguments)


def test_a_bundle_carries_it_and_predict_applies_it_unless_told_otherwise(
    *,
    segduet: Callable[..., Any],
    made: Validated,
    learned: Path,
    predict: Callable[..., tuple[Any, Path]],
    plain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = tmp_path / "model.zip"
    done = segduet(
        *("export", made.road.model, "--to", "bundle", "--format", "openvino", "--out", bundle),
        *("--probability-calibration", learned),
    )
    assert done.code == 0, done.err
    with zipfile.ZipFile(bundle) as packed:
        carried = json.loads(packed.read("manifest.json"))["calibration"]
    assert carried == CarriedCalibration.of(read_json(learned)).model_dump()
    done, out = predict(model=bundle)
    assert done.code == 0, done.err
    assert "class_set" in rows_of(out)[0]
    manifest = read_json(out / "manifest.json")
    assert manifest["arguments"]["calibration"] == "bundle"
    assert manifest["outcome"]["calibration"]["source"] == f"bundle {bundle}"
    loaded = load(bundle, mirrored=False)
    assert list(loaded.warnings) == manifest["warnings"] != []
    for row in rows_of(out):
        assert told_by(loaded, made, row["case"]) == judged_columns(row)
    done, off = predict("--no-calibration", model=bundle)
    assert done.code == 0, done.err
    assert list(rows_of(off)[0]) == list(rows_of(plain)[0])
    assert read_json(off / "manifest.json")["outcome"]["calibration"] is None
    plainly = load(bundle, mirrored=False, no_calibration=True)
    for row in rows_of(off):
        assert told_by(plainly, made, row["case"]) == judged_columns(row)
    np.testing.assert_allclose(
        [float(row["class:dark"]) for row in rows_of(off)],
        [float(row["class:dark"]) for row in rows_of(plain)],
        atol=1e-3,
    )


def test_check_tells_whether_it_held(
    segduet: Callable[..., Any],
    predict: Callable[..., tuple[Any, Path]],
    learned: Path,
    road: Any,
    tmp_path: Path,
) -> None:
    """By hand on two cases; the cases were seen, which it says."""
    _, predictions = predict("--calibration", learned)
    out = tmp_path / "check.json"
    check = ("calibrate", "check", "--reference", "tiny", "--data-root", road.data)
    done = segduet(*check, "--predictions", predictions, "--out", out)
    assert done.code == 0, done.err
    content = read_json(out)
    assert content["num_cases"] == 2
    task = content["tasks"]["class"]
    truth = {"c6": "dark", "c7": "bright"}
    rows = rows_of(predictions)
    covered = [truth[row["case"]] in row["class_set"].split("|") for row in rows]
    assert task["sets"]["coverage"]["value"] == np.mean(covered)
    surprise = [-np.log(float(row[f"class:{truth[row['case']]}"])) for row in rows]
    assert task["reliability"]["class"]["nll"]["value"] == pytest.approx(np.mean(surprise))
    assert task["alpha"] == 0.2
    flagged = np.mean([row["consistency"] != "ok" for row in rows])
    assert content["consistency"]["class"]["flagged"]["value"] == flagged
    assert "2 of 2 cases are not of the test split" in done.out
    assert read_json(tmp_path / "check_manifest.json")["command"] == "calibrate check"
    scored = segduet(
        *("evaluate", "--reference", "tiny", "--data-root", road.data, "--split", "val"),
        *("--predictions", predictions, "--out", tmp_path / "evaluation", "--json"),
    )
    assert scored.code == 0, scored.err
    brier = task["reliability"]["class"]["brier"]["value"]
    assert scored.json()["classification"]["class"]["brier"]["value"] == pytest.approx(brier)


def test_calibrating_needs_no_torch_and_predict_no_scipy_for_it() -> None:
    """Rule 2, and a quick start: applying is numpy."""
    code = (
        "import sys, segduet.evaluation.calibration_file, segduet.evaluation.conformal, "
        "segduet.evaluation.calibration, segduet.evaluation.consistency\n"
        "print('scipy' in sys.modules, 'sklearn' in sys.modules)\n"
        "import segduet.workflows.calibrating, segduet.workflows.calibration_check\n"
        "print('torch' in sys.modules, 'nnunetv2' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100
    )
    assert done.stdout.split() == ["False"] * 4


# what is refused


def refused(finished: Any, *words: str) -> None:
    said = [line for line in finished.err.splitlines() if line.startswith("error: ")]
    assert finished.code == 2, finished.err
    assert finished.out == ""
    assert len(said) == 1, finished.err
    for word in words:
        assert word in said[0], said[0]


def few_cases(of: Validated) -> None:
    cases = read_json(of.splits)[0]["val"][:19]
    write_json(of.splits, [{"train": [], "val": cases}])
    of.rewrite(lambda rows: rows[:19])


def one_class(of: Validated) -> None:
    table = of.road.preprocessed / "cases.csv"
    table.write_text(table.read_text().replace(",bright", ",dark"))


def a_missing_answer(of: Validated) -> None:
    of.rewrite(lambda rows: rows[1:])


def a_failed_case(of: Validated) -> None:
    of.rewrite(lambda rows: [AnswerRow(case="v0", status="failed", message="x"), *rows[1:]])


def an_answer_outside(of: Validated) -> None:
    cases = read_json(of.splits)[0]["val"][1:]
    write_json(of.splits, [{"train": ["v0"], "val": cases}])


def a_test_case(of: Validated) -> None:
    cases = read_json(of.splits)[0]["val"]
    write_json(of.splits, [{"train": [], "val": [*cases, "t0"]}])


def nan_probabilities(of: Validated) -> None:
    lines = of.answers.read_text().splitlines()
    cells = lines[1].split(",")
    lines[1] = ",".join([*cells[:5], "nan", *cells[6:]])
    of.answers.write_text("\n".join(lines) + "\n")


def no_answers(of: Validated) -> None:
    of.answers.unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (few_cases, ("19 cases with a known answer", "at least 20")),
        (one_class, ("0 patients with class 'bright'", "at least 5")),
        (a_missing_answer, ("no answer to 'v0'", "1 of 40 missing or failed")),
        (a_failed_case, ("no answer to 'v0'", "1 of 40")),
        (an_answer_outside, ("'v0', which is no validation case of fold 0",)),
        (a_test_case, ("'t0' of the test split",)),
        (nan_probabilities, ("case 'v0'", "'nan'")),
        (no_answers, ("predictions.csv", "no such file")),
    ],
)
def test_learning_from_answers_that_do_not_do(
    spoil: Callable[[Validated], None],
    words: tuple[str, ...],
    validated: Validated,
    segduet: Callable[..., Any],
    tmp_path: Path,
) -> None:
    spoil(validated)
    out = tmp_path / "c.json"
    refused(learn(segduet, validated, out), *words)
    assert not out.exists()
    assert not (tmp_path / "c_manifest.json").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--alpha", 0), ("--alpha", "[0.0]")),
        (("--alpha", 0.1, "--alpha", 0.1), ("[0.1, 0.1]", "each once")),
        (("--min-probability", 0), ("--min-probability", "found 0")),
        (("--min-probability", 1.5), ("--min-probability", "1.5")),
        (("--task", "grade"), ("'grade'", "['class']")),
        (("--reference", "tiny"), ("--reference", "has an effect")),
    ],
)
def test_learning_with_options_that_do_not_fit(
    options: tuple[object, ...],
    words: tuple[str, ...],
    made: Validated,
    segduet: Callable[..., Any],
    tmp_path: Path,
) -> None:
    refused(learn(segduet, made, tmp_path / "c.json", *options), *words)
    assert list(tmp_path.iterdir()) == []


def plant_predictions(of: Validated, evaluation: Path, predictions: Path, **arguments: Any) -> None:
    """An evaluation of predictions by fold 0; an argument that is None is not recorded."""
    if not predictions.exists():
        shutil.copytree(of.answers.parent, predictions)
    weights = (of.road.run / "model.safetensors").read_bytes()
    asked = {
        "model": str(of.road.model),
        "folds": ["0"],
        "weights_sha256": {"fold_0/model.safetensors": hashlib.sha256(weights).hexdigest()},
        "mode": "exact",
        "mirrored": True,
        "step": 0.5,
        "aggregation": "case",
        "precision": "auto",
        **arguments,
    }
    recorded = {name: value for name, value in asked.items() if value is not None}
    write_json(predictions / "manifest.json", {"command": "predict", "arguments": recorded})
    write_json(evaluation / "summary.json", {})
    scored = {"predictions": str(predictions), "fold": "0"}
    write_json(evaluation / "manifest.json", {"command": "evaluate", "arguments": scored})


def test_how_the_answers_were_made_is_checked_and_kept(
    made: Validated,
    segduet: Callable[..., Any],
    predict: Callable[..., tuple[Any, Path]],
    learned: Path,
    tmp_path: Path,
) -> None:
    """Training mirrors at a step of 0.5; a prediction that does otherwise is told so, by name."""
    assert read_json(learned)["answered"] == {"mirrored": True, "step": 0.5, "aggregation": "case"}
    evaluation, predictions = tmp_path / "evaluation", tmp_path / "predictions"
    out = tmp_path / "c.json"
    run = ("calibrate", "learn", evaluation, "--data-root", made.road.data, "--workers", 1)

    def tried(**arguments: Any) -> Any:
        plant_predictions(made, evaluation, predictions, **arguments)
        return segduet(*run, "--out", out, "--json")

    refused(tried(mode="fast"), "answers in fast mode", "exact mode")
    refused(tried(precision="int8"), "precision int8")
    refused(tried(step=None), "not recorded how they were made")
    refused(tried(weights_sha256={"fold_0/model.safetensors": "ab" * 32}), "other weights than")
    refused(tried(weights_sha256=None), "not recorded what weights")
    assert not out.exists()
    done = tried(mirrored=False, step=1.0)
    assert done.code == 0, done.err
    told = {}
    for name, calibration in (("training", learned), ("planted", out)):
        _, folder = predict("--calibration", calibration, "--step", 1.0)
        told[name] = read_json(folder / "manifest.json")["warnings"]
    assert not [text for text in told["planted"] if "calibration" in text]
    (warning,) = [text for text in told["training"] if "calibration" in text]
    assert "(mirrored, step 0.5, aggregation case)" in warning
    assert "windows are not mirrored, step 1, aggregation case" in warning


def test_a_prediction_says_which_weights_answered(plain: Path, made: Validated) -> None:
    """B20: by their hash, so that what is learned from it belongs to them."""
    weights = (made.road.run / "model.safetensors").read_bytes()
    found = read_json(plain / "manifest.json")["arguments"]["weights_sha256"]
    assert found == {"fold_0/model.safetensors": hashlib.sha256(weights).hexdigest()}


def test_the_validation_of_an_earlier_training_is_not_the_finished_weights(
    validated: Validated, segduet: Callable[..., Any], tmp_path: Path
) -> None:
    record = read_json(validated.road.run / "run.json")
    record["recipe"]["validation"]["final"] = False
    write_json(validated.road.run / "run.json", record)
    refused(learn(segduet, validated, tmp_path / "c.json"), "validation.final=false")


def test_levels_of_sets_are_for_classes_that_exclude_one_another() -> None:
    """An option without an effect is refused; without one, findings are calibrated as they are."""
    findings = [TaskSpec(name="signs", kind="multilabel", classes=("a", "b"))]
    for settings, option in (
        (CalibrationSettings(alphas=(0.1,)), "--alpha"),
        (CalibrationSettings(least_confidence=0.5), "--min-probability"),
    ):
        with pytest.raises(RequestError, match=rf"{option}.*\['signs'\], which have no sets"):
            require_sets(findings, settings)
        require_sets([*findings, TASK], settings)
    require_sets(findings, CalibrationSettings())


def test_calibrated_answers_are_not_calibrated_again(
    validated: Validated, segduet: Callable[..., Any], tmp_path: Path
) -> None:
    predictions, evaluation = tmp_path / "predictions", tmp_path / "evaluation"
    plant_predictions(validated, evaluation, predictions, calibration="c.json")
    run = ("calibrate", "learn", evaluation, "--data-root", validated.road.data)
    refused(segduet(*run, "--out", tmp_path / "c.json"), "c.json has calibrated already")
    twice = ("calibrate", "learn", validated.road.run, validated.road.model)
    refused(
        segduet(*twice, "--data-root", validated.road.data, "--out", tmp_path / "c.json"),
        "['0', '0']",
        "every fold once",
    )


def test_predicting_with_a_calibration_that_does_not_fit(
    predict: Callable[..., tuple[Any, Path]], learned: Path, made: Validated, tmp_path: Path
) -> None:
    other = tmp_path / "other.json"
    content = read_json(learned)
    write_json(other, {**content, "weights_sha256": {"fold_0": "ab" * 32}})
    strange = tmp_path / "strange.json"
    write_json(strange, {**content, "surprise": 1})
    for options, words in (
        (("--calibration", other), ("other weights", "fold_0")),
        (("--calibration", strange), ("surprise",)),
        (("--calibration", tmp_path / "none.json"), ("no such file",)),
        (("--calibration", learned, "--alpha", 0.3), ("--alpha 0.3", "[0.2, 0.4]")),
        (("--alpha", 0.2), ("--alpha 0.2", "a calibration with sets")),
        (("--calibration", learned, "--no-calibration"), ("--no-calibration",)),
        (("--no-calibration",), ("no calibration in", "a bundle that carries one")),
        (("--calibration", learned, "--also", made.road.model), ("several models",)),
    ):
        done, out = predict(*options)
        refused(done, *words)
        assert not out.exists()


def test_exporting_with_a_calibration_that_does_not_fit(
    segduet: Callable[..., Any], learned: Path, made: Validated, tmp_path: Path
) -> None:
    other = tmp_path / "other.json"
    write_json(other, {**read_json(learned), "weights_sha256": {"fold_0": "ab" * 32}})
    out = tmp_path / "exported"
    run = ("export", made.road.model, "--out", out, "--probability-calibration")
    refused(segduet(*run, other, "--to", "bundle"), "other weights")
    refused(segduet(*run, learned, "--to", "nnunet"), "--probability-calibration", "a bundle")
    assert not out.exists()


def test_checking_what_was_not_calibrated(
    segduet: Callable[..., Any], plain: Path, road: Any, tmp_path: Path
) -> None:
    check = ("calibrate", "check", "--data-root", road.data, "--out", tmp_path / "c.json")
    given = ("--reference", "tiny", "--predictions", plain)
    refused(segduet(*check, *given), "without sets", "--calibration")
    refused(segduet(*check, "--reference", "tiny"), "no --predictions")
    refused(segduet(*check, *given, "--alpha", 0.1), "--alpha")
    refused(segduet(*check, *given, "--min-probability", 0), "--min-probability")
    assert list(tmp_path.iterdir()) == []
