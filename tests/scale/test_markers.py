"""B22: a unit is done as long as what it was made from stays as it was, and no longer."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from segduet.core.errors import RequestError
from segduet.scale.markers import Ending, Markers
from segduet.scale.unit import WorkUnit

ENDED = Ending(exit_code=0, seconds=1)
LARGE = 2 << 20


def markers(home: Path) -> Markers:
    return Markers(home / "out" / "units", home)


def prediction(
    home: Path, *, images: str = "images", weights: str = "weights", cleanup: str = "plan.json"
) -> WorkUnit:
    """Reads a folder, a large file and a small one; the names are those of a study's settings."""
    files = [home / images, home / weights, home / cleanup]
    return WorkUnit(
        name="predict-x",
        command=(
            "predict",
            str(files[0]),
            "--pretrained",
            str(files[1]),
            "--cleanup",
            str(files[2]),
        ),
        inputs=tuple(files),
        outputs=(home / "out" / "answers.csv",),
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A study that has run its only unit."""
    home = tmp_path / "study"
    (home / "images").mkdir(parents=True)
    (home / "images-2").mkdir()
    (home / "out").mkdir()
    for name in ("weights", "weights-2"):
        (home / name).write_bytes(b"0" * LARGE)
    for name in ("plan.json", "plan-2.json", "out/answers.csv"):
        (home / name).write_text("{}")
    markers(home).write_done(prediction(home), ENDED)
    return home


def test_what_did_not_change_is_done(home: Path) -> None:
    assert markers(home).is_done(prediction(home))


@pytest.mark.parametrize(
    "change", [{"images": "images-2"}, {"weights": "weights-2"}, {"cleanup": "plan-2.json"}]
)
def test_other_files_are_another_study_even_of_equal_content(
    home: Path, change: dict[str, str]
) -> None:
    (other,) = change.values()
    with pytest.raises(RequestError, match=f"became `{other}`"):
        markers(home).is_done(prediction(home, **change))


@pytest.mark.parametrize(
    ("name", "rewrite"),
    [
        ("weights", lambda file: file.write_bytes(b"1" * LARGE)),
        ("plan.json", lambda file: file.write_text("[]")),
    ],
)
def test_a_file_that_was_rewritten_is_told_whatever_its_size(
    home: Path, name: str, rewrite: Callable[[Path], object]
) -> None:
    rewrite(home / name)
    with pytest.raises(RequestError, match=f"{name} was rewritten"):
        markers(home).is_done(prediction(home))


def test_a_file_that_was_not_read_before_is_a_change(home: Path) -> None:
    unit = prediction(home)
    more = replace(unit, inputs=(*unit.inputs, home / "plan-2.json"))
    with pytest.raises(RequestError, match=r"plan-2\.json was read"):
        markers(home).is_done(more)


def test_a_study_can_be_moved_or_copied_as_a_whole(home: Path, tmp_path: Path) -> None:
    """Without the files' times, as `cp -r` does."""
    copy = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(home, copy, copy_function=shutil.copyfile)
    shutil.rmtree(home)
    assert markers(copy).is_done(prediction(copy))


def test_what_was_made_from_an_earlier_model_is_not_done(home: Path) -> None:
    """However large the model, and even where a training leaves the same bytes again."""
    train = WorkUnit(name="train-x", command=("train",), outputs=(home / "weights",))
    predict = replace(prediction(home), needs=("train-x",))
    score = WorkUnit(
        name="evaluate-x",
        command=("evaluate",),
        needs=("predict-x",),
        inputs=(home / "weights",),
        outputs=(home / "plan.json",),
    )
    study = markers(home)
    for unit in (train, predict, score):
        study.write_done(unit, ENDED)
        assert study.is_done(unit)
    study.write_done(train, ENDED)
    with pytest.raises(RequestError, match="train-x was run again"):
        study.is_done(predict)
    study.write_done(predict, ENDED)
    with pytest.raises(RequestError, match="predict-x was run again"):
        study.is_done(score)
