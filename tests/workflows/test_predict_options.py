"""What `predict` gives on request: features, attention maps, the ensemble of kept models."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

CASES = [f"c{i}" for i in range(8)]


@pytest.fixture(scope="module")
def mine(
    road: Any,
    segduet: Callable[..., Any],
    tiny_training: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Any, Path]:
    """A copy of the road, and a run on it with an attention head and the first epoch kept."""
    copy = road.copy(tmp_path_factory.mktemp("options") / "road")
    finished = segduet(
        *("train", "tiny", *tiny_training, "--name", "attending"),
        *("--set", "head={kind: attention, hidden: [8], width: 8, num_attention_heads: 2}"),
        *("--set", "keep_every=1", "--set", "averaging={kind: none}"),
        *("--set", "validation.final=false", "--data-root", copy.data, "--json"),
    )
    assert finished.code == 0, finished.err
    return copy, Path(finished.json()["run_folder"])


@pytest.fixture
def predict(mine: tuple[Any, Path], segduet: Callable[..., Any]) -> Callable[..., Path]:
    """`predict(out, *arguments)` on all images."""
    copy, run = mine

    def predicted(out: Path, *arguments: object) -> Path:
        finished = segduet(
            *("predict", run, copy.raw / "imagesTr", "--out", out, "--no-tta"),
            *("--device", "cpu", *arguments),
        )
        assert finished.code == 0, finished.err
        return out

    return predicted


def chances_of(out: Path) -> np.ndarray:
    with (out / "predictions.csv").open(newline="") as stream:
        return np.array([float(row["class:bright"]) for row in csv.DictReader(stream)])


def test_features_are_written_on_request_and_serve_a_patient_model(
    mine: tuple[Any, Path],
    predict: Callable[..., Path],
    segduet: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """B07: what the head read of every case, as `segduet patients --features` takes it."""
    assert list(predict(tmp_path / "plain").glob("*.npz")) == []
    out = predict(tmp_path / "answers", "--features")
    with np.load(out / "features_class.npz") as features:
        vectors = {case: features[case] for case in features.files}
    assert list(vectors) == CASES
    assert len({vector.shape for vector in vectors.values()}) == 1
    assert not np.allclose(vectors["c0"], vectors["c1"])
    finished = segduet(
        *("patients", "tiny", "--predictions", out, "--out", tmp_path / "patients"),
        *("--features", out / "features_class.npz", "--folds", 2, "--workers", 1),
        *("--data-root", mine[0].data, "--json"),
    )
    assert finished.code == 0, finished.err
    assert any("features" in part for part in finished.json()["parts"])


def test_attention_is_a_map_of_the_image_that_sums_to_one(
    mine: tuple[Any, Path], predict: Callable[..., Path], tmp_path: Path
) -> None:
    """F18: on the image's own grid; without the option there is none."""
    assert not (predict(tmp_path / "plain") / "attention").exists()
    out = predict(tmp_path / "answers", "--attention")
    assert len(list((out / "attention").iterdir())) == len(CASES)
    for case in CASES:
        seen = SimpleITK.ReadImage(str(out / "attention" / f"{case}_attention_class.nii.gz"))
        image = SimpleITK.ReadImage(str(mine[0].raw / "imagesTr" / f"{case}_0000.nii.gz"))
        assert seen.GetSize() == image.GetSize()
        assert seen.GetSpacing() == pytest.approx(image.GetSpacing())
        assert seen.GetOrigin() == pytest.approx(image.GetOrigin())
        weights = SimpleITK.GetArrayFromImage(seen)
        assert weights.min() >= 0
        assert weights.sum(dtype=float) == pytest.approx(1, abs=1e-4)
        assert np.ptp(weights) > 0.1 * weights.mean()


def test_all_checkpoints_answer_the_mean_of_the_kept_models_and_the_last(
    mine: tuple[Any, Path],
    predict: Callable[..., Path],
    segduet: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """F53: two epochs, one model kept on the way; averaging differs from the final model alone."""
    copy, run = mine
    assert [p.name for p in run.glob("model_epoch_*")] == ["model_epoch_0001.safetensors"]
    final = chances_of(predict(tmp_path / "final"))
    both = chances_of(predict(tmp_path / "all", "--checkpoints", "all"))
    assert np.abs(both - final).max() > 1e-4
    kept = copy.folder / "kept" / run.parent.name
    for name in ("plans.json", "dataset.json"):
        (kept / "fold_0").mkdir(parents=True, exist_ok=True)
        (kept / name).write_bytes((run.parent / name).read_bytes())
    first = (run / "model_epoch_0001.safetensors").read_bytes()
    (kept / "fold_0" / "model.safetensors").write_bytes(first)
    finished = segduet(
        *("predict", kept, copy.raw / "imagesTr", "--out", tmp_path / "first", "--no-tta"),
        *("--device", "cpu"),
    )
    assert finished.code == 0, finished.err
    np.testing.assert_allclose(both, (final + chances_of(tmp_path / "first")) / 2, atol=1e-9)
    refused = segduet(
        *("predict", copy.model, copy.raw / "imagesTr", "--out", tmp_path / "none"),
        *("--checkpoints", "all"),
    )
    assert refused.code == 2
    assert "keep_every" in refused.err
