"""F57, F62, F93: every named recipe, from `train` to `evaluate`, through the commands."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segduet.io.images import read_image, read_label_map
from segduet.training.config import Recipe
from segduet.training.recipe_files import load_recipe, recipe_names

_DENSE = ("network.num_filters=4", "network.kernel_size=3", "network.levels=2")

#: What makes a network small enough for a test, by its kind.
SMALLER = {
    "standalone_unet": ("network.base_filters=4", "network.levels=2"),
    "quicknat": _DENSE,
    "soft_quickfcn": _DENSE,
}
SHORT = (
    *("epochs=2", "steps_per_epoch=2", "precision=fp32"),
    *("head.hidden=[8]", "validation.patches_per_epoch=2"),
)


@dataclass(frozen=True, kw_only=True)
class Phantoms:
    """Prepared cases, with the images to predict, their label and their question."""

    root: Path
    name: str
    configuration: str
    images: tuple[Path, ...]
    label: str
    task: str


@pytest.fixture(scope="module")
def phantoms(
    road: Any, nerves: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, Phantoms]:
    """Spatial dimensions -> cases, those of fold 0 to predict."""
    mine = road.copy(tmp_path_factory.mktemp("recipes") / "road")
    shutil.rmtree(mine.data / "nnUNet_results")
    (raw,) = (nerves / "nnUNet_raw").iterdir()
    (splits,) = (nerves / "nnUNet_preprocessed").rglob("splits_final.json")
    unseen = json.loads(splits.read_text())[0]["val"]
    return {
        2: Phantoms(
            root=nerves,
            name="nerves",
            configuration="2d",
            images=tuple(raw / "imagesTr" / f"{case}_0000.png" for case in unseen),
            label="nerve",
            task="nerve",
        ),
        3: Phantoms(
            root=mine.data,
            name="tiny",
            configuration="3d_fullres",
            images=tuple(mine.raw / "imagesTr" / f"{c}_0000.nii.gz" for c in ("c6", "c7")),
            label="label_1",
            task="class",
        ),
    }


def changes_to(recipe: Recipe) -> tuple[str, ...]:
    """Changes that make a training over in seconds."""
    return (*SHORT, *SMALLER.get(recipe.network.kind, ()))


@pytest.mark.parametrize("name", recipe_names())
def test_a_named_recipe_trains_answers_and_is_scored(
    name: str, phantoms: dict[int, Phantoms], segduet: Callable[..., Any], tmp_path: Path
) -> None:
    """F93: on a phantom of its dimensions; what the recipe answers is there, and nothing else."""
    recipe = load_recipe(name)
    on = phantoms[getattr(recipe.network, "num_spatial_dims", 3)]
    settings = [part for change in changes_to(recipe) for part in ("--set", change)]
    trained = segduet(
        *("train", on.name, "-c", on.configuration, "--recipe", name, *settings),
        *("--device", "cpu", "--workers", 0, "--data-root", on.root, "--json"),
    )
    assert trained.code == 0, trained.err
    run = Path(trained.json()["run_folder"])
    check_record(run, name, changes_to(recipe))

    answers = tmp_path / "answers"
    predicted = segduet("predict", run, *on.images, "--out", answers, "--device", "cpu", "--no-tta")
    assert predicted.code == 0, predicted.err
    check_masks(answers, on, expected=recipe.answers != "classification")
    check_classes(answers, on, expected=recipe.answers != "segmentation")

    evaluated = segduet(
        *("evaluate", "--reference", on.name, "--predictions", answers, "--fold", 0),
        *("--out", tmp_path / "scores", "--data-root", on.root, "--workers", 1),
        *(("--classes-only",) if recipe.answers == "classification" else ()),
    )
    assert evaluated.code == 0, evaluated.err
    check_scores(tmp_path / "scores", on, recipe)


def check_record(run: Path, name: str, changes: tuple[str, ...]) -> None:
    """F57: the run keeps the recipe as it was used, and its losses are finite."""
    record = json.loads((run / "run.json").read_text())
    assert record["recipe"] == load_recipe(name, changes).model_dump(mode="json")
    assert run.parent.name.startswith(f"segduet_{name}__")
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(history) == 2
    assert all(np.isfinite(line["train"]["loss"]) for line in history)


def check_masks(answers: Path, on: Phantoms, *, expected: bool) -> None:
    """One mask per image on the image's own grid, with declared labels only."""
    found = {path.name for path in answers.iterdir() if path.suffix in (".gz", ".png")}
    assert found == ({path.name.replace("_0000", "") for path in on.images} if expected else set())
    for image in on.images if expected else ():
        mask = read_label_map(answers / image.name.replace("_0000", ""))
        assert mask.geometry == read_image([image]).geometry
        assert set(np.unique(mask.array)) <= {0, 1}


def check_classes(answers: Path, on: Phantoms, *, expected: bool) -> None:
    """Probabilities of every case sum to 1; a recipe for masks alone answers nothing."""
    with (answers / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["status"] for row in rows] == ["ok"] * len(on.images)
    columns = [column for column in rows[0] if column.startswith(f"{on.task}:")]
    assert bool(columns) is expected
    for row in rows if expected else ():
        chances = {column.removeprefix(f"{on.task}:"): float(row[column]) for column in columns}
        assert sum(chances.values()) == pytest.approx(1)
        assert row[on.task] == max(chances, key=lambda label: chances[label])


def check_scores(scores: Path, on: Phantoms, recipe: Recipe) -> None:
    """Both tasks are measured on all cases, as far as the recipe answers them."""
    summary = json.loads((scores / "summary.json").read_text())
    assert summary["n_cases"] == len(on.images)
    if recipe.answers != "classification":
        assert 0 <= summary["segmentation"][on.label]["dsc"]["mean"] <= 1
    if recipe.answers != "segmentation":
        assert 0 <= summary["classification"][on.task]["macro_f1"]["value"] <= 1
