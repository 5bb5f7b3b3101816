"""Issue 6, item 2: two processes that share every batch train as one does."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import shared_trainings as work
from segduet.core.answers import fitted_task
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.losses.config import ClassificationLossConfig, SegmentationLossConfig
from segduet.losses.deep_supervision import DeepSupervisionLoss
from segduet.losses.segmentation import SegmentationLoss
from segduet.losses.task_loss import build_task_loss
from segduet.networks.outputs import TaskOutputs
from segduet.training.checkpoint import load_checkpoint
from segduet.training.distillation_config import TeacherDistillation
from segduet.training.loop import CHECKPOINT, initial_state, train
from segduet.training.processes import Processes
from segduet.training.samples import Batch, batches
from two_processes import start, together

BALANCINGS = {
    "fixed": {"kind": "fixed"},
    "uncertainty": {"kind": "uncertainty"},
    "dwa": {"kind": "dwa"},
    "gradnorm": {"kind": "gradnorm"},
    "pcgrad": {"kind": "gradient", "method": "pcgrad"},
    "guarded": {"kind": "guarded"},
}
NAN = float("nan")
PLAIN = LabelScheme(labels=(("background", (0,)), ("blob", (1,))))
IGNORING = LabelScheme(labels=(("background", (0,)), ("blob", (1,)), ("ignore", (2,))))
REGIONS = LabelScheme(
    labels=(("background", (0,)), ("organ", (1, 2)), ("blob", (2,))), regions_class_order=(1, 2)
)
TASKS = {
    "kind": TaskSpec(name="kind", classes=("a", "b")),
    "grade": TaskSpec(name="grade", kind="ordinal", classes=("low", "mid", "high")),
    "signs": TaskSpec(name="signs", kind="multilabel", classes=("x", "y")),
    "size": TaskSpec(name="size", kind="regression", unit="mm"),
}
KNOWN = {
    "kind": [[0.0], [1.0], [0.0], [0.0]],
    "grade": [[0.0], [1.0], [2.0], [0.0]],
    "signs": [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]],
    "size": [[3.0], [5.0], [9.0], [1.0]],
}


def _settings(kind):
    return {"balancing": BALANCINGS[kind], "epochs": 3, "steps_per_epoch": 2}


def _objectives():
    """Name -> what an objective is made of, with what a teacher adds."""
    config = ClassificationLossConfig()
    tasks = {}
    for name, task in TASKS.items():
        targets = np.array(KNOWN[name])
        tasks[name] = build_task_loss(fitted_task(task, targets, where="x"), targets, config)
    focal = SegmentationLossConfig(kind="dice_focal", focal_alpha=(0.3, 0.7))
    segmentations = {
        "per batch": SegmentationLoss(IGNORING, batch_dice=True),
        "per image": SegmentationLoss(IGNORING, batch_dice=False),
        "focal": SegmentationLoss(IGNORING, batch_dice=False, config=focal),
        "regions": SegmentationLoss(REGIONS, batch_dice=True),
    }
    made = {name: ((DeepSupervisionLoss(s), tasks), {}) for name, s in segmentations.items()}
    lessons = TeacherDistillation(kind="teacher", teacher="none", feature_weight=0.5)
    taught = {"config": lessons, "labels": PLAIN, "tasks": (TASKS["kind"],)}
    return {**made, "taught": (made["per batch"][0], taught)}


def _batches():
    """Four cases: all known; nothing known of the second process's two; nothing known at all."""
    generator = torch.Generator().manual_seed(0)
    shape = (4, 1, 4, 6, 6)
    image = torch.randn(shape, generator=generator)
    label_map = torch.randint(-1, 3, shape, generator=generator).to(torch.int16)
    outputs = TaskOutputs(
        segmentation=tuple(
            torch.randn((4, 2, 4 // n, 6 // n, 6 // n), generator=generator) for n in (1, 2)
        ),
        case_logits={
            name: torch.randn((4, n), generator=generator)
            for name, n in (("kind", 2), ("grade", 2), ("signs", 2), ("size", 1))
        },
        evidence={},
        case_features={"kind": torch.randn((4, 7), generator=generator)},
    )
    found = {}
    for name, known in (("all", 4), ("first", 2), ("none", 0)):
        has_mask = torch.arange(4) < known
        targets = {k: torch.tensor(v) for k, v in KNOWN.items()}
        batch = Batch(
            cases=("a", "b", "c", "d"),
            image=image,
            label_map=torch.where(has_mask[:, None, None, None, None], label_map, -1),
            has_mask=has_mask,
            targets={k: torch.where(has_mask[:, None], v, NAN) for k, v in targets.items()},
            evidence={k: torch.tensor([0.2, 0.9, 1.0, 0.4]) for k in TASKS},
        )
        found[name] = (batch, outputs)
    return found


@pytest.fixture(scope="module")
def answers(job_builder, tiny_store, tmp_path_factory):
    """What both processes found; one start serves the tests of this file."""
    folder = tmp_path_factory.mktemp("together")
    build = job_builder(tiny_store, folder)
    jobs = {kind: (build(folder=folder / kind, **_settings(kind)), False) for kind in BALANCINGS}
    augmented = {"sampling": {"augmentation": "default"}, "averaging": {"kind": "swa"}}
    jobs["whole"] = build(folder=folder / "whole", **augmented), False
    jobs["half"] = build(folder=folder / "halves", until_epoch=2, **augmented), False
    jobs["halves"] = build(folder=folder / "halves", **augmented), True
    train(build(folder=folder / "begun", until_epoch=2, **augmented), resume=False)
    jobs["gone on"] = build(folder=folder / "begun", **augmented), True
    jobs["half again"] = build(folder=folder / "half", until_epoch=2, **augmented), False
    found = together(
        work.everything,
        {
            "trainings": (work.train_all, jobs),
            "losses": (work.losses_of_shares, _objectives(), _batches()),
            "layers": (work.layers_of_shares,),
            "parted": (work.parted, build(folder=folder / "parted")),
            "nan": (work.not_a_number, build(folder=folder / "nan")),
            "pauses": (work.pauses,),
        },
    )
    return found, build, folder, augmented


def _off(history, expected):
    """Largest difference of any loss of two histories; patch Dice counts voxels, and so leaps."""
    return max(
        abs(mine[part][name] - theirs[part][name])
        for mine, theirs in zip(history, expected, strict=True)
        for part in ("train", "validation")
        for name in mine[part].keys() - {"patch_dice"}
    )


@pytest.mark.parametrize("kind", BALANCINGS)
def test_two_processes_have_the_losses_of_one(answers, kind):
    """The bar of issue 6 on six steps; fifty are in benchmarks/ddp_equality.py."""
    (first, second), build, folder, _ = answers
    history, weights = first["trainings"][kind]
    alone = train(build(folder=folder / f"{kind} alone", **_settings(kind)), resume=False)
    assert _off(history, alone.history) < 1e-5
    assert history[-1]["weights"] == pytest.approx(alone.history[-1]["weights"], abs=1e-5)
    assert history[-1]["collapse"] == alone.history[-1]["collapse"]
    theirs = second["trainings"][kind][1]
    assert all(np.array_equal(weights[name], theirs[name]) for name in theirs)


def test_two_halves_equal_the_whole_with_two_processes_bit_for_bit(answers):
    """B10: 2N = N + save + load + N."""
    trainings = answers[0][0]["trainings"]
    whole, halves = trainings["whole"][1], trainings["halves"][1]
    assert all(np.array_equal(whole[name], halves[name]) for name in whole)


def test_a_checkpoint_serves_any_number_of_processes(answers):
    """One process begins and two go on, and the other way round."""
    (first, _), build, folder, settings = answers
    whole = first["trainings"]["whole"][0]
    assert _off(first["trainings"]["gone on"][0], whole) < 1e-5
    gone_on = train(build(folder=folder / "half", **settings), resume=True)
    assert _off(gone_on.history, whole) < 1e-5


def test_losses_and_gradients_of_shares_are_those_of_the_batch(answers):
    """Sums are added up before anything is divided, also where a process knows nothing."""
    for found in answers[0]:
        losses = found["losses"]
        assert len(losses) == 5 * 3 * 5
        assert max(off for _, off, _ in losses.values()) < 1e-6
        assert max(off for _, _, off in losses.values()) < 1e-6
        assert losses["per batch, first, segmentation"][0] > 0.1
        unknown = [v[0] for k, v in losses.items() if ", none, " in k and "taught" not in k]
        assert unknown == [0.0] * 20
        assert losses["taught, none, task:kind"][0] > 0.01


def test_layers_that_look_at_a_batch_see_all_of_it(answers):
    """Statistics, their gradients and running values, and the masks of dropout."""
    for found in answers[0]:
        assert len(found["layers"]) == 5
        assert max(found["layers"].values()) < 1e-5


def test_processes_that_come_to_other_weights_are_stopped(answers):
    for found in answers[0]:
        assert "another network on rank [1] than on rank 0" in found["parted"]


def test_what_is_not_finite_on_one_process_stops_all_with_the_cases_of_all(answers):
    for found in answers[0]:
        assert "found the gradient = nan" in found["nan"]
        assert found["nan"].count("case_") == 2


def test_all_pause_while_any_machine_is_too_hot(answers):
    """F54: the second machine is hot in the second check, for two looks."""
    for found in answers[0]:
        assert found["pauses"] == [None, 1.0, None]


def test_processes_draw_the_shares_of_the_same_samples(make_job):
    job = make_job()
    common = {"batch_size": 4, "first_step": 1, "last_step": 3, "workers": 0}
    whole = list(batches(job.patches, **common))
    shares = [
        list(batches(job.patches, **common, processes=Processes(rank=rank, size=2)))
        for rank in range(2)
    ]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert batch.cases == parts[0].cases + parts[1].cases
        assert torch.equal(batch.image, torch.cat([part.image for part in parts]))


@pytest.mark.parametrize(
    ("how", "first", "second"),
    [
        ("killed", "TrainingError: .*rank 1 ended: its process was killed", "-9"),
        ("first killed", "-9", "TrainingError: .*rank 0 ended: its process was killed"),
        ("by an error", "TrainingError: .*rank 1 ended: case_7: found noise", "DataError: case_7"),
        ("terminated", "TrainingError: .*rank 1 ended: .*by SIGTERM", "by SIGTERM"),
        ("interrupted", "KeyboardInterrupt", "KeyboardInterrupt"),
        ("while the other is stuck", "^1$", "-9"),
    ],
)
def test_a_dead_process_ends_the_other_with_the_reason(make_job, how, first, second):
    """The other ends within 30 s, and the last checkpoint is whole."""
    job = make_job(epochs=100_000, steps_per_epoch=1, validation={"patches_per_epoch": 0})
    answers = start(work.ends_badly, job, how)
    for (answer, seconds), expected in zip(answers, (first, second), strict=True):
        assert re.search(expected, str(answer)), answer
        assert seconds < 30
    if how == "while the other is stuck":
        said = Path(f"{job.run_folder}.0").read_text()
        assert said.startswith("error: training over 2 processes, rank 0: found rank 1 ended: its")
    state = initial_state(job)
    load_checkpoint(job.run_folder / CHECKPOINT, state, job.recipe)
    assert 3 <= state.epoch <= 4
