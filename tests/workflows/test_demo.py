import pytest

from segduet.core.errors import RequestError
from segduet.core.files import read_json
from segduet.training.recipe_files import load_recipe
from segduet.workflows import demo as demo_module
from segduet.workflows.demo import DemoRequest, demo

STAGES = ["phantoms", "import", "check", "plan", "preprocess", "train", "predict", "evaluate"]


@pytest.fixture
def _small(monkeypatch):
    """The same road with nine patients and two steps."""
    quiz = demo_module.write_pancreas_quiz
    counts = {"train": (2, 2, 2), "validation": (1, 1, 1)}

    def few(*args, **kwargs):
        return quiz(*args, **{**kwargs, "counts": counts})

    quick = ["epochs=1", "steps_per_epoch=2", "head.hidden=[8]", "validation.patches_per_epoch=2"]
    monkeypatch.setattr(demo_module, "write_pancreas_quiz", few)
    monkeypatch.setattr(
        demo_module, "load_recipe", lambda name, changes: load_recipe(name, [*changes, *quick])
    )


@pytest.mark.usefixtures("_small")
def test_the_demo_walks_the_whole_road(tmp_path):
    """F93, F11, F05: every stage is shown, unseen cases are scored, the page is written."""
    shown = []
    manifest = demo(
        DemoRequest(out=tmp_path / "demo", workers=1), lambda text, _: shown.append(text)
    )
    stages = list(dict.fromkeys(text.partition(":")[0] for text in shown))
    assert stages == [*STAGES, "report"]
    summary = read_json(tmp_path / "demo" / "evaluation" / "summary.json")
    assert manifest.outcome["summary"] == summary
    assert summary["n_cases"] == 3
    assert {"majority_class", "mask_volume"} == set(summary["baselines"])
    assert [row["threshold"] for row in summary["targets"]] == [0.90, 0.60, 0.80]
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "Subtype macro-F1" in page
    assert f"{summary['segmentation']['whole_pancreas']['dsc']['mean']:.3f}" in page
    record = read_json(next((tmp_path / "demo").rglob("run.json")))
    assert len(record["train_cases"]) == 6
    assert not set(record["train_cases"]) & set(record["validation_cases"])


class _SeenEnoughError(Exception):
    """Ends a demonstration before it trains."""


def test_the_ultrasound_demo_draws_other_patients_for_another_seed(tmp_path, monkeypatch):
    """F93: 2D pictures of nerves in place of volumes."""
    nerves = demo_module.write_nerve_folders

    def few(*args, **kwargs):
        return nerves(*args, **{**kwargs, "num_patients": 2, "images_per_patient": 3})

    def until_checked(text, _share):
        if text.startswith("check"):
            raise _SeenEnoughError

    monkeypatch.setattr(demo_module, "write_nerve_folders", few)
    drawn = []
    for seed in (0, 1):
        out = tmp_path / str(seed)
        with pytest.raises(_SeenEnoughError):
            demo(DemoRequest(out=out, is_ultrasound=True, seed=seed, workers=1), until_checked)
        raw = out / "segduet-data" / "nnUNet_raw" / "Dataset502_nerve_phantoms"
        assert read_json(raw / "dataset.json")["file_ending"] == ".png"
        drawn.append({p.name: p.read_bytes() for p in (raw / "imagesTr").iterdir()})
    assert len(drawn[0]) == 6
    assert drawn[0].keys() == drawn[1].keys()
    assert all(drawn[0][name] != drawn[1][name] for name in drawn[0])


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RequestError, match="not empty"):
        demo(DemoRequest(out=tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
