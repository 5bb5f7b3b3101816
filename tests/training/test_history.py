"""F55: the event file is read back and holds what happened."""

import dataclasses
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segduet.training.history import HistoryLog
from segduet.training.loop import train
from segduet.training.panels import confusion_figure, overlay_panel, rendered

CONFUSION = {"kind": {"classes": ["dark", "bright"], "counts": [[3, 1], [0, 4]]}}

EVERYTHING = {"images": 0, "histograms": 0}


def _events(job):
    events = EventAccumulator(str(job.run_folder / "tensorboard"), size_guidance=EVERYTHING)
    events.Reload()
    return events


@pytest.fixture
def logged(make_job):
    """Three epochs; details after the second and, since it is the last, the third."""
    job = make_job(
        epochs=3,
        details_every=2,
        validation={"full_cases_every": 1},
        balancing={"kind": "fixed", "task_weight": 0.25},
    )
    measured = {
        "score": 0.6,
        "dsc": {"blob": 0.5, "mean_foreground": 0.5},
        "task_score": {"kind": 0.7},
        "confusion": CONFUSION,
    }
    job = dataclasses.replace(job, validate_full=lambda _network: measured)
    state = train(job, resume=False)
    return job, state, _events(job)


def test_scalars_of_both_tasks_rate_time_and_weights_are_there(logged):
    _, state, events = logged
    tags = {
        *("train/loss", "train/segmentation", "train/task:kind"),
        *("validation/segmentation", "validation/task:kind", "validation/patch_dice"),
        *("full_case/dsc/blob", "full_case/task_score/kind", "full_case/score"),
        *("learning_rate", "seconds", "weights/segmentation", "weights/task:kind"),
    }
    assert tags <= set(events.Tags()["scalars"])
    assert [e.step for e in events.Scalars("full_case/task_score/kind")] == [0, 1, 2]
    assert events.Scalars("weights/task:kind")[0].value == 0.25
    rates = [e.value for e in events.Scalars("learning_rate")]
    assert rates == pytest.approx([r["learning_rate"] for r in state.history])


def test_histograms_of_weights_and_gradients_come_with_the_details(logged):
    _, state, events = logged
    names = [name for name, _ in state.network.named_parameters()]
    assert {f"parameters/{n}" for n in names} <= set(events.Tags()["histograms"])
    name = names[0]
    assert [e.step for e in events.Histograms(f"gradients/{name}")] == [1, 2]
    last = events.Histograms(f"parameters/{name}")[-1].histogram_value
    weights = dict(state.network.named_parameters())[name].detach()
    assert (last.num, last.sum) == (weights.numel(), pytest.approx(float(weights.sum()), rel=1e-5))


def test_pictures_of_fixed_validation_patches_are_there(logged):
    """Two patches of 16 x 16: three views side by side with gaps of two."""
    _, _, events = logged
    tags = [t for t in events.Tags()["images"] if t.startswith("patches/")]
    assert len(tags) == 2
    for tag in tags:
        first, last = events.Images(tag)
        assert (first.step, last.step, last.width, last.height) == (1, 2, 52, 16)
        old, new = (
            np.asarray(Image.open(io.BytesIO(e.encoded_image_string))) for e in (first, last)
        )
        assert np.array_equal(old[:, :34], new[:, :34])  # the same patch with the same reference


def test_the_confusion_matrix_is_an_image_per_epoch(logged):
    _, _, events = logged
    assert [e.step for e in events.Images("confusion/kind")] == [0, 1, 2]


def test_the_lines_hold_everything_too(logged):
    job, _, _ = logged
    lines = (job.run_folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["full_case"]["confusion"] for line in lines] == [CONFUSION] * 3


def test_without_details_there_are_no_histograms_and_pictures(make_job):
    job = make_job(epochs=2, details_every=0)
    train(job, resume=False)
    tags = _events(job).Tags()
    assert (tags["histograms"], tags["images"]) == ([], [])
    assert "train/loss" in tags["scalars"]


def test_details_change_no_number_of_the_training(make_job, tmp_path):
    on = train(make_job(folder=tmp_path / "on", details_every=1), resume=False)
    off = train(make_job(folder=tmp_path / "off", details_every=0), resume=False)
    pairs = zip(on.network.parameters(), off.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_gradients_that_are_not_finite_are_left_out(tmp_path):
    network = torch.nn.Linear(2, 1)
    network.weight.grad = torch.full((1, 2), float("inf"))
    network.bias.grad = torch.ones(1)
    log = HistoryLog(tmp_path, first_epoch=0)
    log.write_details(network, {}, epoch=0)
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = set(events.Tags()["histograms"])
    assert found == {"parameters/weight", "parameters/bias", "gradients/bias"}


def test_names_and_counts_stand_where_they_belong():
    """Rows are the reference: one dark case was called bright."""
    figure = confusion_figure(["dark", "bright"], [[3, 1], [0, 4]])
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_xticklabels()] == ["dark", "bright"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["dark", "bright"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "reference")
    cells = {t.get_position(): t.get_text() for t in axes.texts}
    assert cells == {(0, 0): "3", (1, 0): "1", (0, 1): "0", (1, 1): "4"}
    picture = rendered(figure)
    assert picture.shape[2] == 3
    assert picture.min() < 100 < picture.max()


def test_a_panel_shows_image_reference_and_prediction_of_the_fullest_slice():
    image = np.zeros((3, 2, 2), dtype=np.float32)
    image[2, 0] = 1.0
    reference, predicted = np.zeros((2, 3, 2, 2), dtype=np.int16)
    reference[2, 0, 0] = 1
    predicted[2, 1, 1] = 2
    reference[0, 0, 0] = -1  # outside the image: no colour
    panel = overlay_panel(image, reference, predicted)
    plain, marked, answered = panel[:, :2], panel[:, 4:6], panel[:, 8:]
    assert panel.shape == (2, 10, 3)
    assert plain[:, :, 0].tolist() == [[255, 255], [0, 0]]
    red, green = marked[0, 0], answered[1, 1]
    assert red[0] > red[1]
    assert red[0] > red[2]
    assert green[1] > green[0]
    assert np.array_equal(marked[1], plain[1])
    assert np.array_equal(answered[0], plain[0])


def test_without_foreground_the_middle_slice_is_shown_in_grey():
    image = np.zeros((3, 1, 2), dtype=np.float32)
    image[1, 0] = (0.0, 1.0)
    empty = np.zeros((3, 1, 2), dtype=np.int16)
    panel = overlay_panel(image, empty, empty)
    assert panel[0, 4:6].tolist() == [[0, 0, 0], [255, 255, 255]]
