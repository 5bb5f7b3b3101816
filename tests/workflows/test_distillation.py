"""F70 through `segduet train`: a student of a trained model, and every teacher that is refused."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from segduet.core.errors import RequestError
from segduet.core.files import read_json, write_json
from segduet.core.folders import DataRoot
from segduet.training.checkpoint import read_model
from segduet.training.recipe_files import load_recipe
from segduet.workflows.train_request import TrainRequest
from segduet.workflows.training import train as run_training

HALF = ("--set", "network.width_factor=0.5")


@pytest.fixture(scope="module")
def mine(road: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A copy of the road to train in."""
    return road.copy(tmp_path_factory.mktemp("distillation") / "road")


@pytest.fixture
def train(
    mine: Any, segduet: Callable[..., Any], tiny_training: tuple[str, ...]
) -> Callable[..., Any]:
    """`train(name, *arguments)`, without the final validation."""

    def run(name: str, *arguments: object) -> Any:
        return segduet(
            *("train", "tiny", *tiny_training, "--set", "validation.final=false"),
            *("--name", name, *arguments, "--data-root", mine.data, "--json"),
        )

    return run


@pytest.fixture
def teacher(mine: Any, tmp_path: Path) -> Path:
    """A copy of the trained model that a test may spoil."""
    return Path(shutil.copytree(mine.model, tmp_path / mine.model.name))


def taught_by(teacher: Path, *settings: str) -> tuple[str, ...]:
    chosen = ("distillation.kind=teacher", f"distillation.teacher={teacher}", *settings)
    return tuple(part for setting in chosen for part in ("--set", setting))


def trained(finished: Any) -> Path:
    assert finished.code == 0, finished.err
    return Path(finished.json()["run_folder"])


def first_losses(run: Path) -> dict[str, float]:
    record = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    return {name: value for name, value in record["train"].items() if "distil" in name}


def refusal(finished: Any) -> str:
    """The one message in four parts of a request that was refused."""
    assert finished.code == 2, finished.err
    said = [line for line in finished.err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1, finished.err
    assert re.fullmatch(r"error: .+: found .+; expected .+\. [A-Z].+\.", said[0]), said[0]
    return said[0]


def change(file: Path, **entries: object) -> None:
    write_json(file, {**read_json(file), **entries})


def change_configuration(teacher: Path, **entries: object) -> None:
    content = read_json(teacher / "plans.json")
    content["configurations"]["3d_fullres"].update(entries)
    write_json(teacher / "plans.json", content)


def test_a_narrow_student_learns_from_a_trained_model(mine: Any, train: Callable) -> None:
    """Losses are logged, the teacher is on record, and nothing of it is in the student's files."""
    run = trained(train("student", *HALF, *taught_by(mine.model)))
    losses = first_losses(run)
    assert set(losses) == {"distil_segmentation", "distil_task:class"}
    assert all(value > 0 for value in losses.values())
    record = read_json(run / "run.json")
    weights = hashlib.sha256((mine.run / "model.safetensors").read_bytes()).hexdigest()
    assert record["teacher"] == {
        "folder": str(mine.model.resolve()),
        "sha256": {"0": weights},
        "passes_per_window": 8,
        "validation_cases_it_was_trained_on": [],
    }
    assert record["recipe"]["distillation"]["teacher_sha256"] == [weights]
    alone = trained(train("alone", *HALF))
    assert read_json(alone / "run.json")["teacher"] is None
    for file in ("model.safetensors", "checkpoint_latest.safetensors"):
        shapes = [
            {name: tensor.shape for name, tensor in read_model(folder / file)[0].items()}
            for folder in (run, alone)
        ]
        assert shapes[0] == shapes[1]
    assert read_json(run / "manifest.json")["warnings"] == []


def test_two_halves_equal_the_whole_and_another_teacher_is_refused(
    mine: Any, train: Callable, teacher: Path
) -> None:
    """B10, B19: the teacher is known by its weights, not by its path alone."""
    settings = ["validation.final=false", "steps_per_epoch=3", "head.hidden=[8]", "epochs=2"]
    settings += ["network.width_factor=0.5", "distillation.kind=teacher"]
    recipe = load_recipe("default", [*settings, f"distillation.teacher={teacher}"])

    def run(name: str, **options: Any) -> Path:
        request = TrainRequest(
            dataset="tiny", recipe=recipe, name=name, device="cpu", workers=0, **options
        )
        manifest = run_training(DataRoot.resolve(mine.data, {}), request)
        return Path(manifest.outcome["run_folder"])

    whole = read_model(run("whole") / "model.safetensors")[0]
    run("halves", until_epoch=1)
    halves = read_model(run("halves", resume=True) / "model.safetensors")[0]
    assert whole.keys() == halves.keys()
    assert all(torch.equal(whole[name], tensor) for name, tensor in halves.items())

    started = run("halves", until_epoch=1, overwrite=True)
    weights = teacher / "fold_0" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(RequestError, match=r"other settings than at the start: .'distillation'."):
        run("halves", resume=True)
    was = read_json(started / "run.json")["recipe"]["distillation"]["teacher_sha256"]
    pinned = taught_by(teacher, f"distillation.teacher_sha256={was}")
    assert "other weights" in refusal(train("anew", *HALF, *pinned))


def test_stock_nnunet_teaches_masks(stock_training: Any, mine: Any, train: Callable) -> None:
    """Its own trainer's model has no heads: refused while answers are asked of it."""
    stock = stock_training.model
    message = refusal(train("heads", *HALF, *taught_by(stock)))
    assert "distillation.task_weight" in message
    run = trained(train("masks", *HALF, *taught_by(stock, "distillation.task_weight=0")))
    assert set(first_losses(run)) == {"distil_segmentation"}
    assert read_json(run / "run.json")["teacher"]["validation_cases_it_was_trained_on"] is None
    (warning,) = read_json(run / "manifest.json")["warnings"]
    assert "is unknown" in warning


def test_a_student_that_only_classifies_learns_only_answers(mine: Any, train: Callable) -> None:
    settings = ("--set", "answers=classification", "--set", "head.kind=gem")
    run = trained(train("classifier", *settings, *taught_by(mine.model)))
    assert set(first_losses(run)) == {"distil_task:class"}
    back = taught_by(run.parent, "distillation.task_weight=0")
    assert "draws no masks" in refusal(train("blind", *HALF, *back))


def test_a_teacher_that_knows_the_validation_cases_is_told_of(mine: Any, train: Callable) -> None:
    """B09: figures on c6 and c7 are not honest where the teacher was trained on them."""
    everyone = trained(train("everyone", "--fold", "all"))
    run = trained(train("flattered", *HALF, *taught_by(everyone.parent)))
    record = read_json(run / "run.json")["teacher"]
    assert record["validation_cases_it_was_trained_on"] == ["c6", "c7"]
    (warning,) = read_json(run / "manifest.json")["warnings"]
    assert "2 of this fold's 2 validation cases" in warning
    assert "fold_0" in warning


@pytest.mark.parametrize(
    ("words", "spoil"),
    [
        ("label set", lambda t: change(t / "dataset.json", labels={"background": 0, "cyst": 1})),
        ("set of channels", lambda t: change(t / "dataset.json", channel_names={"0": "MR"})),
        ("spacing", lambda t: change_configuration(t, spacing=[3.0, 1.0, 1.0])),
        ("patch size", lambda t: change_configuration(t, patch_size=[8, 16, 16])),
        ("normalisation", lambda t: change_configuration(t, use_mask_for_norm=[True])),
        ("order of axes", lambda t: change(t / "plans.json", transpose_forward=[1, 0, 2])),
        ("stage before", lambda t: change_configuration(t, previous_stage="3d_lowres")),
    ],
)
def test_a_teacher_of_other_windows_is_refused(
    words: str, spoil: Callable[[Path], None], train: Callable, teacher: Path, mine: Any
) -> None:
    spoil(teacher)
    assert f"another {words}" in refusal(train("other", *HALF, *taught_by(teacher)))
    assert list(mine.data.rglob("other__*")) == []


def test_a_teacher_of_other_tasks_is_refused(train: Callable, teacher: Path) -> None:
    """The task's name and classes are in the weights' header."""
    weights = teacher / "fold_0" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content.replace(b"dark", b"grey"))
    message = refusal(train("tasks", *HALF, *taught_by(teacher)))
    assert "grey" in message
    assert "dark" in message


def test_other_teachers_that_cannot_teach_are_refused(
    mine: Any, train: Callable, tmp_path: Path
) -> None:
    """None at all, the training itself, nothing to learn, nothing to compare."""
    nowhere = refusal(train("none", *HALF, *taught_by(tmp_path / "nowhere")))
    assert "no such folder" in nowhere
    own = ("--overwrite", *taught_by(mine.model))
    assert "very training" in refusal(train("segduet_default", *own))
    silent = taught_by(mine.model, "answers=segmentation", "distillation.segmentation_weight=0")
    assert "nothing to learn" in refusal(train("silent", *silent))
    single = taught_by(mine.model, "distillation.feature_weight=1", "batch_size=1")
    assert "batch of one" in refusal(train("single", *single))
