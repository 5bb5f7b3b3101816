"""F70: a student in training hears its teacher; the teacher stays as it is and stays out."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskScale, TaskSpec
from segduet.inference.engines.torch_engine import TorchEngine
from segduet.inference.mirroring import WindowBatch, mirror_combinations, predict_mirrored
from segduet.losses.distillation import distilled_features
from segduet.networks.config import HeadConfig
from segduet.networks.joint import build_joint_network
from segduet.reporting.history import read_series
from segduet.training.checkpoint import read_model
from segduet.training.config import Recipe
from segduet.training.devices import choose_compute
from segduet.training.distillation import Distillation, Teacher, TeacherMember
from segduet.training.distillation_config import TeacherDistillation
from segduet.training.loop import CHECKPOINT, train
from segduet.training.patch_validation import validate_patches
from segduet.training.samples import Batch
from segduet.training.tensors import unique_tensors

LABELS = LabelScheme(labels=(("background", (0,)), ("blob", (1,))))
TASK = TaskSpec(name="kind", classes=("dark", "bright"))
FAST = {"name": "adamw", "learning_rate": 1e-2}
ALL_FLIPS = [tuple(a - 5 for a in axes) for axes in mirror_combinations((0, 1, 2), 3)]


@pytest.fixture
def network(plan):
    """Builds a network of the tiny plan: `network(seed, tasks=...)`."""

    def build(seed, tasks=(TASK,)):
        torch.manual_seed(seed)
        built = build_joint_network(
            configuration=plan.configuration("3d_fullres"),
            num_channels=1,
            labels=LABELS,
            tasks=tasks,
            head=HeadConfig(hidden=(8,)),
            deep_supervision=True,
        )
        with torch.no_grad():  # else an untrained head answers next to nothing
            for parameter in built.heads.parameters():
                parameter.add_(torch.randn_like(parameter))
        return built

    return build


def teacher_of(*networks, flips=((),), tasks=(TASK,), scales=({},)):
    members = [
        TeacherMember(network=n, scales=s)
        for n, s in zip(networks, [*scales] * len(networks), strict=False)
    ]
    return Teacher(members, flips, tasks, choose_compute("cpu", "fp32"))


def taught(job, teacher, **settings):
    """The same job with a teacher."""
    config = TeacherDistillation(teacher="unused", **settings)
    distillation = Distillation(teacher=teacher, config=config, labels=LABELS, tasks=(TASK,))
    job.objective.distillation = distillation
    return job


def windows(count=2, *, has_mask=True, label=1.0):
    generator = torch.Generator().manual_seed(0)
    shape = (count, 1, 8, 16, 16)
    drawn = torch.randint(0, 2, shape, generator=generator)
    return Batch(
        cases=tuple(f"case_{i}" for i in range(count)),
        image=torch.randn(shape, generator=generator),
        label_map=(drawn if has_mask else torch.full(shape, -1)).to(torch.int16),
        has_mask=torch.full((count,), has_mask),
        targets={"kind": torch.full((count, 1), label)},
        evidence={"kind": torch.linspace(0.3, 1.0, count)},
    )


def test_mirrored_answers_are_those_of_prediction(network):
    """Masks, and answers of the heads to the mean of their sums, as `segduet predict` has them."""
    one = network(0)
    batch = windows()
    answers = teacher_of(copy.deepcopy(one), flips=ALL_FLIPS).answer(batch.image)
    one.deep_supervision = False
    engine = TorchEngine(one, num_spatial_dims=3)
    found = predict_mirrored(
        engine,
        WindowBatch(image=batch.image.numpy(), shares=np.ones((2, 1, 8, 16, 16), np.float32)),
        mirror_combinations((0, 1, 2), 3),
        where="test",
    )
    torch.testing.assert_close(answers.masks, torch.tensor(found.logits), atol=1e-5, rtol=0)
    heads = engine.answer({task: v.astype(np.float32) for task, v in found.sums.items()})
    expected = torch.tensor(heads.logits["kind"])
    torch.testing.assert_close(answers.cases["kind"][0], expected, atol=1e-5, rtol=1e-5)
    plain = teacher_of(one).answer(batch.image)
    assert not torch.allclose(answers.masks, plain.masks, atol=1e-2)


def test_folds_are_averaged_as_in_prediction(network):
    """Mean logits of the masks; every network's answer to the task for itself."""
    first, second = network(0), network(1)
    image = windows().image
    both = teacher_of(first, second, flips=[(), (-1,)])
    each = [teacher_of(n, flips=[(), (-1,)]).answer(image) for n in (first, second)]
    answers = both.answer(image)
    torch.testing.assert_close(answers.masks, (each[0].masks + each[1].masks) / 2)
    for position in (0, 1):
        assert torch.equal(answers.cases["kind"][position], each[position].cases["kind"][0])
    assert both.passes_per_window == 4


def test_a_regression_is_handed_on_in_the_students_scale(network):
    """Teacher: 0 is 10 mm, 1 is 2 mm more. Student: 0 is 14 mm, 1 is 4 mm more."""
    size = TaskSpec(name="size", kind="regression", scale=TaskScale(mean=14.0, sd=4.0))
    one = network(0, tasks=(size,))
    scales = ({"size": TaskScale(mean=10.0, sd=2.0)},)
    image = windows().image
    found = teacher_of(one, tasks=(size,), scales=scales).answer(image).cases["size"][0]
    one.eval()
    value_mm = one(image).case_logits["size"].detach() * 2 + 10
    torch.testing.assert_close(found * 4 + 14, value_mm, atol=1e-5, rtol=1e-5)


def test_a_teacher_answers_in_the_precision_of_the_training(make_job, network):
    """Issue 4.8: which may be chosen after it was built; the objective it was built for stays."""
    objective, batch = taught(make_job(), teacher_of(network(1))).objective, windows()
    halves = objective.computed_with(choose_compute("cpu", "bf16"))
    plain, rounded = (
        each.distillation.teacher.answer(batch.image).masks for each in (objective, halves)
    )
    assert not torch.equal(rounded, plain)
    assert torch.equal(rounded, rounded.bfloat16().float())
    torch.testing.assert_close(rounded, plain, atol=0.1, rtol=0.1)


def test_lessons_are_added_to_their_terms_with_their_weights(make_job, network):
    """What is balanced is label loss plus weight times lesson; what is logged is the lesson."""
    job = make_job()
    batch = windows()
    outputs = job.network(batch.image)
    alone = job.objective(outputs, batch)
    assert alone.taught == {}
    weights = {"segmentation_weight": 0.5, "task_weight": 3.0, "feature_weight": 2.0}
    both = taught(job, teacher_of(network(1)), **weights).objective(outputs, batch)
    lessons = both.taught
    assert set(lessons) == {"distil_segmentation", "distil_task:kind", "distil_features:kind"}
    assert all(lesson.item() > 1e-4 for lesson in lessons.values())
    torch.testing.assert_close(
        both.terms["segmentation"],
        alone.terms["segmentation"] + 0.5 * lessons["distil_segmentation"],
    )
    torch.testing.assert_close(
        both.terms["task:kind"],
        alone.terms["task:kind"]
        + 3 * lessons["distil_task:kind"]
        + 2 * lessons["distil_features:kind"],
    )
    assert set(both.logged) == {*both.terms, *lessons}


@pytest.mark.parametrize(
    ("silent", "heard"),
    [
        ({"segmentation_weight": 0}, {"distil_task:kind"}),
        ({"task_weight": 0}, {"distil_segmentation"}),
    ],
)
def test_a_part_of_weight_zero_is_not_compared(make_job, network, silent, heard):
    job = taught(make_job(), teacher_of(network(1)), **silent)
    batch = windows()
    assert set(job.objective(job.network(batch.image), batch).taught) == heard


def test_windows_without_any_label_learn_from_the_teacher(make_job, network):
    """Without one they teach nothing (B03); with one, every part of the network."""
    job = make_job()
    batch = windows(has_mask=False, label=math.nan)

    def largest_gradients():
        job.network.zero_grad()
        terms = job.objective(job.network(batch.image), batch).terms
        torch.stack(list(terms.values())).sum().backward()
        found = {"encoder": 0.0, "decoder": 0.0, "heads": 0.0}
        for name, parameter in job.network.named_parameters():
            if parameter.grad is not None:
                part = name.split(".")[0]
                found[part] = max(found[part], float(parameter.grad.abs().max()))
        return found

    assert largest_gradients() == {"encoder": 0.0, "decoder": 0.0, "heads": 0.0}
    taught(job, teacher_of(network(1)))
    assert min(largest_gradients().values()) > 1e-6


def test_the_teacher_stays_as_it_is_and_out_of_every_file(make_job, network):
    """Frozen, in evaluation mode, deep supervision off; not in the checkpoint nor a state dict."""
    one = network(1)
    before = {k: v.clone() for k, v in one.state_dict().items()}
    job = taught(make_job(epochs=1), teacher_of(one))
    names = set(unique_tensors(job.network))
    state = train(job, resume=False)
    assert all(torch.equal(before[k], v) for k, v in one.state_dict().items())
    assert not one.training
    assert not one.deep_supervision
    assert all(p.grad is None and not p.requires_grad for p in one.parameters())
    tensors, _ = read_model(job.run_folder / CHECKPOINT)
    kept = {k.removeprefix("network.") for k in tensors if k.startswith("network.")}
    assert kept == names == set(unique_tensors(state.network))
    assert [k for k in job.objective.state_dict() if "teacher" in k or "network" in k] == []


@pytest.mark.parametrize("balancing", ["fixed", "dwa", "gradnorm", "guarded", "validation_rate"])
def test_two_halves_equal_the_whole_with_a_teacher(make_job, network, tmp_path, balancing):
    """B10: 2N steps = N + save + load + N, whatever balances the terms."""
    settings = {
        "balancing": {"kind": balancing},
        "optimizer": FAST,
        "steps_per_epoch": 2,
    }

    def run(folder, *, resume, until_epoch=None):
        teacher = teacher_of(network(1), flips=ALL_FLIPS[:2])
        job = make_job(folder=tmp_path / folder, until_epoch=until_epoch, **settings)
        return train(taught(job, teacher, feature_weight=1.0), resume=resume)

    whole = run("whole", resume=False)
    run("halves", resume=False, until_epoch=2)
    halves = run("halves", resume=True)
    expected = {**unique_tensors(whole.network), **unique_tensors(whole.model)}
    found = {**unique_tensors(halves.network), **unique_tensors(halves.model)}
    assert all(torch.equal(expected[k], v) for k, v in found.items())
    records = [
        [{k: v for k, v in record.items() if k != "seconds"} for record in state.history]
        for state in (whole, halves)
    ]
    assert records[0] == records[1]


def test_distances_to_the_teacher_fall_and_are_recorded(make_job, tmp_path):
    """Without a label, every lesson falls on validation patches; reports take them for losses."""
    settings = {"optimizer": FAST, "balancing": {"kind": "fixed", "task_weight": 1.0}}
    informed = make_job(folder=tmp_path / "teacher", epochs=1, steps_per_epoch=50, **settings)
    teacher = teacher_of(train(informed, resume=False).network)
    job = make_job(epochs=5, steps_per_epoch=8, **settings)
    job = taught(job, teacher, temperature=1.0)
    history = train(replace(job, patches=_Labelled(job.patches, cases=())), resume=False).history
    for lesson in ("distil_segmentation", "distil_task:kind"):
        values = [record["validation"][lesson] for record in history]
        assert values[-1] < 0.8 * values[0], (lesson, values)
        assert history[0]["train"][lesson] > 0
    series = read_series(history)
    assert series["validation/distil_segmentation"].lower_is_better
    assert series["validation/distil_task:kind"].lower_is_better


def test_the_feature_weight_makes_the_heads_see_the_same_windows_as_alike(make_job, tmp_path):
    """New windows are likened more as the teacher does, on average of three seeds."""
    settings = {"optimizer": FAST, "epochs": 1, "averaging": {"kind": "none"}}
    informed = make_job(folder=tmp_path / "teacher", seed=7, steps_per_epoch=50, **settings)
    teacher = teacher_of(train(informed, resume=False).network)
    distances = {0.0: [], 100.0: []}
    for seed in (0, 1, 2):
        folder = tmp_path / str(seed)
        for weight, found in distances.items():
            job = make_job(folder=folder / str(weight), seed=seed, steps_per_epoch=30, **settings)
            taught(job, teacher, segmentation_weight=1e-9, task_weight=0, feature_weight=weight)
            network = train(job, resume=False).network.eval()
            image = _new_cases().image
            seen = network(image).case_features["kind"].detach()
            found.append(float(distilled_features(seen, teacher.answer(image).features["kind"])))
    assert np.mean(distances[100.0]) < 0.8 * np.mean(distances[0.0]), distances


def test_unlabelled_cases_bring_a_student_nearer_to_the_truth(make_job, tmp_path):
    """One labelled case of four; the teacher knew all. Three seeds, judged on eight new cases.

    Both students of a seed start alike and see the same windows in the same order.
    """
    settings = {
        "epochs": 1,
        "optimizer": FAST,
        "balancing": {"kind": "fixed", "task_weight": 1.0},
        "validation": {"patches_per_epoch": 0},
        "interference": {"every_steps": 0},
        "averaging": {"kind": "none"},
    }
    informed = make_job(folder=tmp_path / "teacher", seed=7, steps_per_epoch=60, **settings)
    teacher = teacher_of(train(informed, resume=False).model)
    gains = {"segmentation": [], "task:kind": []}
    for seed in (0, 1, 2):
        folder, measured = tmp_path / str(seed), []
        for name in ("alone", "distilled"):
            job = make_job(folder=folder / name, seed=seed, steps_per_epoch=30, **settings)
            job = replace(job, patches=_Labelled(job.patches, cases=("case_1",)))
            if name == "distilled":
                taught(job, teacher, temperature=1.0)
            model = train(job, resume=False).model
            judge = informed.objective
            measured.append(validate_patches(model, [_new_cases()], judge, LABELS, job.compute))
        alone, distilled = measured
        for term, found in gains.items():
            found.append(alone[term] - distilled[term])
    assert np.mean(gains["segmentation"]) > 0.02, gains
    assert np.mean(gains["task:kind"]) > 0.02, gains


class _Labelled:
    """Patches as they are, but of these cases alone mask and class are known."""

    def __init__(self, patches, *, cases):
        self._patches, self._cases = patches, cases
        self.tasks = patches.tasks

    def __getitem__(self, index):
        sample = self._patches[index]
        if sample["case"] in self._cases:
            return sample
        unknown = {"kind": np.full(1, np.nan, np.float32)}
        blank = torch.full_like(sample["label_map"], -1)
        return {**sample, "has_mask": False, "label_map": blank, "targets": unknown}


def _new_cases():
    """Eight windows like those of the tiny dataset, of blobs that no training has seen."""
    rng = np.random.default_rng(99)
    label_map = np.zeros((8, 1, 8, 16, 16), np.int16)
    classes = np.arange(8) % 2
    image = rng.normal(0, 0.3, label_map.shape).astype(np.float32)
    for one, (y, x) in enumerate(rng.integers(1, 10, (8, 2))):
        label_map[one, 0, 2:6, y : y + 6, x : x + 6] = 1
        image[one][label_map[one] == 1] += 3.0 if classes[one] else 1.5
    return Batch(
        cases=tuple(f"new_{i}" for i in range(8)),
        image=torch.from_numpy(image),
        label_map=torch.from_numpy(label_map),
        has_mask=torch.ones(8, dtype=torch.bool),
        targets={"kind": torch.from_numpy(classes.astype(np.float32)[:, None])},
        evidence={"kind": torch.ones(8)},
    )


def test_settings_that_teach_nothing_are_refused():
    def recipe(**distillation):
        return Recipe.model_validate({"distillation": {"kind": "teacher", **distillation}})

    with pytest.raises(ValidationError, match="all weights are 0, so the teacher is not heard"):
        recipe(teacher="x", segmentation_weight=0, task_weight=0)
    with pytest.raises(ValidationError, match=r"teacher\n  Field required"):
        recipe()
    with pytest.raises(ValidationError, match="greater than 0"):
        recipe(teacher="x", temperature=0)
