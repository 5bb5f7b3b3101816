"""B02: every kind of case-level question, from `import` to `report`, through the commands."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segduet.training.checkpoint import read_model

COLUMNS = ("shape", "cancer", "grade", "findings", "size")
TASKS = (
    "shape:multiclass:oval,round,spiky",
    "cancer:binary:no,yes",
    "grade:ordinal:low,mid,high",
    "findings:multilabel:cyst,mass",
    "size:regression:mm",
)
#: Of the cases c0-c7, and by turns of d0-d7; each question has cases nobody knows the answer to.
ANSWERS = {
    "shape": ("oval", "round", "spiky", "oval", "", "spiky", "round", "oval"),
    "cancer": ("no", "yes", "", "yes", "no", "yes", "no", "yes"),
    "grade": ("low", "high", "mid", "", "low", "high", "high", "mid"),
    "findings": ("none", "cyst", "mass", "cyst|mass", "cyst", "none", "", "mass"),
    "size": ("112.5", "", "131", "118", "145.5", "127", "160", "139"),
}
FIXED = (
    *("--set", "steps_per_epoch=2", "--set", "head.hidden=[8]", "--epochs", 2),
    *("--set", "validation.patches_per_epoch=2", "--set", "averaging={kind: none}"),
    *("--device", "cpu", "--precision", "fp32", "--workers", 0),
)


CASES = {f"c{i}": i for i in range(8)} | {f"d{i}": (i + 3) % 8 for i in range(8)}


def truth(task: str, case: str) -> str:
    """A cell of the table; empty where the answer is unknown."""
    return ANSWERS[task][CASES[case]]


def known_sizes(cases: list[str]) -> dict[str, float]:
    return {case: float(truth("size", case)) for case in cases if truth("size", case)}


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def kinds(road: Any, segduet: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `data`: sixteen cases with five questions, ready to train on in two folds."""
    folder = tmp_path_factory.mktemp("kinds")
    shutil.copytree(road.folder / "table", folder / "table")
    for file in (folder / "table").glob("*/c?.nii.gz"):
        shutil.copy(file, file.with_name(file.name.replace("c", "d", 1)))
    lines = [",".join((case, *(truth(task, case) for task in COLUMNS))) for case in CASES]
    header = ",".join(("case", *COLUMNS))
    (folder / "table" / "cases.csv").write_text("\n".join([header, *lines]) + "\n")
    for command in (
        ("import", "table", folder / "table", "--name", "kinds", *asked()),
        ("plan", "kinds", "--planner", "small", "--folds", 2),
        ("preprocess", "kinds"),
    ):
        finished = segduet(*command, "--data-root", folder / "data", "--workers", 1)
        assert finished.code == 0, (command, finished.err)
    return folder


def asked() -> tuple[str, ...]:
    return tuple(part for task in TASKS for part in ("--task", task))


@pytest.fixture(scope="module")
def train(kinds: Path, segduet: Callable[..., Any]) -> Callable[..., Path]:
    """Trains on the five questions: `train(name, *arguments)` gives the run folder."""

    def trained(name: str, *arguments: object) -> Path:
        finished = segduet(
            *("train", "kinds", "--name", name, *FIXED, *arguments),
            *("--data-root", kinds / "data", "--json"),
        )
        assert finished.code == 0, finished.err
        return Path(finished.json()["run_folder"])

    return trained


@pytest.fixture(scope="module")
def run(train: Callable[..., Path]) -> Path:
    """Fold 0 with the default recipe."""
    return train("kinds")


@pytest.fixture(scope="module")
def second(train: Callable[..., Path], run: Path) -> Path:
    """Fold 1 of the same model."""
    return train("kinds", "--fold", 1)


@pytest.fixture
def predict(kinds: Path, segduet: Callable[..., Any]) -> Callable[..., dict[str, dict[str, str]]]:
    """`predict(model, out, *arguments)`: case -> line of predictions.csv."""
    (images,) = (kinds / "data" / "nnUNet_raw").glob("*/imagesTr")

    def predicted(model: Path, out: Path, *arguments: object) -> dict[str, dict[str, str]]:
        finished = segduet(
            *("predict", model, images, "--out", out, "--device", "cpu", "--no-tta", *arguments)
        )
        assert finished.code == 0, finished.err
        rows = rows_of(out / "predictions.csv")
        assert {row["status"] for row in rows} == {"ok"}
        return {row["case"]: row for row in rows}

    return predicted


def scale_of(run: Path) -> dict[str, float]:
    _, header = read_model(run / "model.safetensors")
    (task,) = [task for task in header["tasks"] if task["name"] == "size"]
    scale: dict[str, float] = task["scale"]
    return scale


def test_predictions_hold_every_kind_of_answer(
    run: Path, predict: Callable[..., Any], tmp_path: Path
) -> None:
    """Columns by kind; probabilities of exclusive classes sum to 1; answers are their decisions."""
    answers = predict(run, tmp_path)
    assert list(answers) == list(CASES)
    assert list(answers["c0"]) == [
        *("case", "status", "message", "seconds"),
        *("shape", "shape:oval", "shape:round", "shape:spiky", "evidence:shape"),
        *("cancer", "cancer:no", "cancer:yes", "evidence:cancer"),
        *("grade", "grade:low", "grade:mid", "grade:high", "evidence:grade"),
        *("findings", "findings:cyst", "findings:mass", "evidence:findings"),
        *("size", "evidence:size"),
    ]
    for row in answers.values():
        for task in ("shape", "cancer", "grade"):
            chances = [float(v) for column, v in row.items() if column.startswith(f"{task}:")]
            assert sum(chances) == pytest.approx(1)
        held = [name for name in ("cyst", "mass") if float(row[f"findings:{name}"]) > 0.5]
        assert row["findings"] == ("|".join(held) or "none")


def test_a_regression_answers_in_its_unit(
    run: Path, predict: Callable[..., Any], tmp_path: Path
) -> None:
    """After next to no training the answer is near the mean of the training cases, in mm."""
    cases = json.loads((run / "run.json").read_text())["train_cases"]
    known = list(known_sizes(cases).values())
    scale = scale_of(run)
    assert scale["mean"] == pytest.approx(np.mean(known))
    assert scale["sd"] == pytest.approx(np.std(known, ddof=1))
    answers = [float(row["size"]) for row in predict(run, tmp_path).values()]
    assert all(abs(answer - scale["mean"]) < 3 * scale["sd"] for answer in answers)
    assert len(set(answers)) > 1


def test_every_kind_is_scored_and_reported(
    kinds: Path, run: Path, predict: Callable[..., Any], segduet: Callable[..., Any], tmp_path: Path
) -> None:
    predict(run, tmp_path / "answers")
    root = ("--data-root", kinds / "data")
    finished = segduet(
        *("evaluate", "--reference", "kinds", "--predictions", tmp_path / "answers"),
        *("--fold", 0, "--out", tmp_path / "scores", "--workers", 1, "--json", *root),
    )
    assert finished.code == 0, finished.err
    figures = finished.json()["classification"]
    assert set(figures) == set(COLUMNS)
    assert 0 <= figures["shape"]["macro_f1"]["value"] <= 1
    assert {"sensitivity", "specificity"} <= set(figures["cancer"])
    assert "quadratic_kappa" in figures["grade"]
    assert set(figures["findings"]["auroc_by_class"]) == {"cyst", "mass"}
    cases = json.loads((run / "run.json").read_text())["validation_cases"]
    answered = {r["case"]: r["size"] for r in rows_of(tmp_path / "answers" / "predictions.csv")}
    errors = [abs(float(answered[case]) - value) for case, value in known_sizes(cases).items()]
    assert figures["size"]["mae"]["value"] == pytest.approx(np.mean(errors))
    assert figures["size"]["mae"]["unit"] == "mm"
    page = tmp_path / "report.html"
    reported = segduet("report", run, tmp_path / "scores", "--out", page, *root)
    assert reported.code == 0, reported.err
    text = page.read_text()
    assert [task for task in COLUMNS if task not in text] == []


def test_folds_answer_a_regression_each_in_its_own_scale(
    run: Path, second: Path, predict: Callable[..., Any], tmp_path: Path
) -> None:
    """B02: two folds have two scales; together they answer the mean of what each answers alone."""
    scales = scale_of(run), scale_of(second)
    assert abs(scales[0]["mean"] - scales[1]["mean"]) > 1
    model = run.parent
    alone = [predict(model, tmp_path / fold, "--folds", fold) for fold in ("0", "1")]
    together = predict(model, tmp_path / "both", "--folds", "0,1")
    for case, row in together.items():
        each = [float(answers[case]["size"]) for answers in alone]
        assert float(row["size"]) == pytest.approx(np.mean(each), rel=1e-9)
        chances = [float(answers[case]["cancer:yes"]) for answers in alone]
        assert float(row["cancer:yes"]) == pytest.approx(np.mean(chances), rel=1e-9)


def test_folds_that_answer_other_questions_are_not_averaged(
    run: Path, train: Callable[..., Path], segduet: Callable[..., Any], tmp_path: Path
) -> None:
    """One message that names the model and what it answers instead."""
    masks = train("masks", "--fold", 1, "--recipe", "segmentation-only")
    mixed = shutil.copytree(run.parent, tmp_path / run.parent.name)
    shutil.rmtree(mixed / "fold_1", ignore_errors=True)
    shutil.copytree(masks, mixed / "fold_1")
    images = next(run.parents[3].glob("nnUNet_raw/*/imagesTr"))
    refused = segduet("predict", mixed, images, "--out", tmp_path / "out", "--device", "cpu")
    assert refused.code == 2
    told = [line for line in refused.err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert "fold_1/model.safetensors: found a network that answers []" in refused.err


@pytest.mark.parametrize("kind", ["uncertainty", "guarded"])
def test_five_questions_are_balanced(train: Callable[..., Path], kind: str) -> None:
    """F37, B08, B02: every term is in the history, finite; what is learnt or kept is recorded."""
    run = train(kind, "--set", f"balancing={{kind: {kind}}}", "--set", "validation.final=false")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    terms = {"segmentation", *(f"task:{name}" for name in COLUMNS)}
    for line in lines:
        assert terms <= line["train"].keys()
        assert all(np.isfinite(line["train"][term]) for term in terms)
