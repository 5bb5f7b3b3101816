"""F77: several models answer together; equal to a mean of whole probability maps made by hand."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage, special, stats

from segduet.core.errors import RequestError
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan
from segduet.core.prepared import Placement, PreparedCase
from segduet.core.tasks import TaskScale, TaskSpec
from segduet.inference.engine import HeadAnswers, Member, WindowAnswers
from segduet.inference.ensembles import (
    EnsembleRule,
    ModelOnCase,
    in_step,
    joint_scores,
    mean_answer,
    predict_together,
)
from segduet.inference.settings import PredictionSettings
from segduet.inference.window_pass import window_passes

TASK = TaskSpec(name="type", classes=("a", "b", "c"))
PLAIN = LabelScheme.from_dataset_json({"background": 0, "lesion": 1}, None, where="test")
NESTED = LabelScheme.from_dataset_json(
    {"background": 0, "organ": [1, 2], "lesion": [2]}, [1, 2], where="test"
)
NATIVE = Geometry(shape_zyx=(6, 7, 9), spacing_zyx_mm=(1.0, 1.0, 1.0))
CROP = (slice(0, 6), slice(1, 7), slice(1, 9))
ARITHMETIC, GEOMETRIC = EnsembleRule.ARITHMETIC, EnsembleRule.GEOMETRIC


def configuration(spacing, patch):
    return ConfigurationPlan.model_validate(
        {
            "data_identifier": "test",
            "batch_size": 2,
            "patch_size": patch,
            "spacing": [spacing] * 3,
            "median_image_size_in_voxels": [8, 8, 8],
            "normalization_schemes": ["NoNormalization"],
            "use_mask_for_norm": [False],
            "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1},
            "architecture": {"network_class_name": "x", "arch_kwargs": {}},
            "batch_dice": False,
        }
    )


def placement(prepared_shape):
    """Native (6, 7, 9); transposed (9, 6, 7), of which the box (8, 6, 6) is kept."""
    return Placement(
        native=NATIVE,
        transpose_forward=(2, 0, 1),
        transpose_backward=(1, 2, 0),
        crop_box=((1, 9), (0, 6), (1, 7)),
        prepared_shape=prepared_shape,
    )


@pytest.fixture
def make_model(make_engine):
    """A model whose networks have these gains, on a grid of this spacing."""

    def build(gains, spacing, prepared_shape, patch=(4, 4, 4), seed=0, **settings):
        image = np.random.default_rng(seed).normal(size=(1, *prepared_shape)).astype(np.float32)
        prepared = PreparedCase(
            case="c", image=image, label_map=None, placement=placement(prepared_shape)
        )
        plan = configuration(spacing, list(patch))
        members = [Member(engine=make_engine(gain=gain), tasks=(TASK,)) for gain in gains]

        def started(**more):
            passes = window_passes(
                members,
                prepared,
                patch_zyx=patch,
                settings=PredictionSettings(**{**settings, **more}),
            )
            return ModelOnCase(prepared=prepared, configuration=plan, passes=passes)

        return started

    return build


@pytest.fixture
def pair(make_model):
    """Two folds on a coarse grid and one network on a fine one; windows of different sizes."""
    return [
        make_model((1.0, 2.5), 2.0, (4, 3, 3), patch=(4, 3, 2), seed=1),
        make_model((1.7,), 0.8, (10, 8, 8), patch=(3, 4, 5), seed=2),
    ]


def native_logits(started):
    """Whole logits of one model on the user's grid within the crop, by scipy's own zoom."""
    model = started()
    slabs = [[np.copy(s) for s in windows.slabs()] for windows in model.passes]
    whole = np.mean([np.concatenate(slab, axis=1) for slab in slabs], axis=0)
    factors = np.divide((8, 6, 6), whole.shape[1:])
    native = [
        ndimage.zoom(channel, factors, order=1, mode="nearest", grid_mode=True) for channel in whole
    ]
    return np.stack(native).transpose(0, 2, 3, 1)


def together(pair, labels=PLAIN, rule=ARITHMETIC, **settings):
    models = [started(**settings) for started in pair]
    return predict_together(models, labels=labels, tasks=(TASK,), rule=rule)


@pytest.mark.parametrize("rule", list(EnsembleRule))
def test_plain_labels_are_decided_on_the_mean_softmax_of_all_models(pair, rule):
    chances = [special.softmax(native_logits(started), axis=0) for started in pair]
    mean = np.mean(chances, axis=0) if rule is ARITHMETIC else stats.gmean(chances, axis=0)
    expected = np.zeros(NATIVE.shape_zyx, np.uint8)
    expected[CROP] = mean.argmax(axis=0)
    found = together(pair, rule=rule)
    np.testing.assert_array_equal(found.label_map, expected)
    assert found.geometry == NATIVE
    for alone in pair:
        single = together([alone], rule=rule)
        assert (single.label_map != expected).sum() > 5


@pytest.mark.parametrize("rule", list(EnsembleRule))
def test_regions_are_decided_on_the_mean_sigmoid_of_all_models(pair, rule):
    chances = np.stack([special.expit(native_logits(started)) for started in pair])
    mean = chances.mean(axis=0)
    if rule is GEOMETRIC:
        inside, outside = stats.gmean(chances, axis=0), stats.gmean(1 - chances, axis=0)
        mean = inside / (inside + outside)
    expected = np.zeros(NATIVE.shape_zyx, np.uint8)
    within = expected[CROP]
    within[mean[0] > 0.5] = 1
    within[mean[1] > 0.5] = 2
    found = together(pair, labels=NESTED, rule=rule)
    np.testing.assert_array_equal(found.label_map, expected)


def test_the_two_means_are_those_of_probabilities_and_of_their_logarithms():
    """Two models lean to the first label, one is sure of the second."""
    chances = np.array([[0.7, 0.3], [0.8, 0.2], [0.02, 0.98]])
    logits = list(np.log(chances).astype(np.float32)[..., None])
    arithmetic = joint_scores(logits, ARITHMETIC, has_regions=False)[:, 0]
    np.testing.assert_allclose(arithmetic, chances.mean(axis=0), atol=1e-6)
    geometric = joint_scores(logits, GEOMETRIC, has_regions=False)[:, 0]
    np.testing.assert_allclose(np.exp(geometric), stats.gmean(chances, axis=0), rtol=1e-5)
    assert arithmetic.argmax() == 0
    assert geometric.argmax() == 1


def test_large_logits_neither_overflow_nor_lose_the_decision():
    logits = [np.array([[1e4], [-1e4]], np.float32), np.array([[-1e4], [1e4 + 1]], np.float32)]
    for rule in EnsembleRule:
        for has_regions in (False, True):
            assert np.isfinite(joint_scores(logits, rule, has_regions=has_regions)).all()


@pytest.mark.parametrize("rule", list(EnsembleRule))
def test_class_answers_are_averaged_by_the_same_rule(pair, rule):
    alone = [together([started]).probabilities["type"] for started in pair]
    found = together(pair, rule=rule).probabilities["type"]
    if rule is ARITHMETIC:
        expected = np.mean(alone, axis=0)
    else:
        expected = stats.gmean(alone, axis=0) / stats.gmean(alone, axis=0).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert not np.allclose(found, alone[0], atol=1e-4)


def test_evidence_features_and_attention_of_all_models_are_kept(pair):
    alone = [together([started], keep_attention=True) for started in pair]
    found = together(pair, keep_attention=True)
    assert found.evidence["type"] == np.mean([a.evidence["type"] for a in alone])
    np.testing.assert_array_equal(
        found.features["type"], np.concatenate([a.features["type"] for a in alone])
    )
    np.testing.assert_allclose(
        found.attention["type"], np.mean([a.attention["type"] for a in alone], axis=0), rtol=1e-5
    )
    assert found.attention["type"].sum(dtype=float) == pytest.approx(1, abs=1e-5)


def test_one_model_alone_answers_as_without_an_ensemble(pair):
    """Its folds are averaged as logits, which the mean of one model leaves as they are."""
    expected = np.zeros(NATIVE.shape_zyx, np.uint8)
    expected[CROP] = native_logits(pair[0]).argmax(axis=0)
    for rule in EnsembleRule:
        np.testing.assert_array_equal(together([pair[0]], rule=rule).label_map, expected)


def test_networks_that_only_classify_answer_together(pair):
    class Classifying:
        name, num_spatial_dims = "classifying", 3

        def __init__(self, engine):
            self._engine = engine

        def predict(self, windows, shares):
            full = self._engine.predict(windows, shares)
            none = np.zeros((len(windows), 0, *windows.shape[2:]), np.float32)
            return WindowAnswers(logits=none, sums=full.sums, evidence=full.evidence)

        def answer(self, sums) -> HeadAnswers:
            return self._engine.answer(sums)

        def close(self):
            pass

    def classify_only(started):
        model = started()
        for windows in model.passes:
            windows._engine = Classifying(windows._engine)
        return model

    found = predict_together(
        [classify_only(s) for s in pair], labels=PLAIN, tasks=(TASK,), rule=ARITHMETIC
    )
    assert found.label_map is None
    np.testing.assert_allclose(
        found.probabilities["type"], together(pair).probabilities["type"], rtol=1e-6
    )


def test_plans_that_turn_the_axes_differently_are_refused(pair):
    models = [started() for started in pair]
    turned = dataclasses.replace(
        models[1].prepared.placement, transpose_forward=(0, 1, 2), transpose_backward=(0, 1, 2)
    )
    object.__setattr__(models[1].prepared, "placement", turned)
    with pytest.raises(RequestError, match=r"ensemble.*\(0, 1, 2\).*same transpose_forward"):
        predict_together(models, labels=PLAIN, tasks=(TASK,), rule=ARITHMETIC)


def test_slabs_of_any_sizes_are_cut_to_the_same_slices():
    numbers = np.arange(20).reshape(2, 10)

    def cut(*stops):
        return [numbers[:, a:b] for a, b in zip((0, *stops), (*stops, 10), strict=True)]

    pieces = list(in_step([cut(1, 4, 5), cut(6), cut(4)]))
    assert [len(slabs) for slabs in pieces] == [3] * len(pieces)
    for member in range(3):
        np.testing.assert_array_equal(np.hstack([p[member] for p in pieces]), numbers)
    assert [p[0].shape[1] for p in pieces] == [1, 3, 1, 1, 4]


BINARY = TaskSpec(name="t", kind="binary", classes=("no", "yes"))
FINDINGS = TaskSpec(name="t", kind="multilabel", classes=("x", "y"))
GRADE = TaskSpec(name="t", kind="ordinal", classes=("i", "ii", "iii"))
AGE = TaskSpec(name="t", kind="regression", scale=TaskScale(mean=0, sd=1))


@pytest.mark.parametrize(
    ("task", "answers", "expected"),
    [
        (BINARY, ([0.9, 0.1], [0.5, 0.5]), [0.75, 0.25]),
        (FINDINGS, ([0.9, 0.5], [0.5, 0.5]), [0.75, 0.5]),
        (GRADE, ([0.64, 0.36, 0.0], [0.04, 0.32, 0.64]), None),
        (AGE, ([-3.0], [5.0]), [1.0]),
    ],
)
def test_every_kind_of_task_has_a_geometric_mean(task, answers, expected):
    """sqrt(0.9 x 0.5) : sqrt(0.1 x 0.5) is 3 : 1."""
    found = mean_answer(task, [np.array(a) for a in answers], GEOMETRIC)
    if expected is not None:
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    arithmetic = mean_answer(task, [np.array(a) for a in answers], ARITHMETIC)
    np.testing.assert_allclose(arithmetic, np.mean(answers, axis=0))
    if task.has_exclusive_classes:
        assert found.sum() == pytest.approx(1)
    if task is GRADE:
        # one certain model leaves the class improbable, and no class impossible
        assert 0 < found[2] < 0.01


def test_answers_of_zero_and_one_stay_finite():
    certain = [np.array([1.0, 0.0]), np.array([0.0, 1.0])]
    for task in (BINARY, FINDINGS):
        np.testing.assert_allclose(mean_answer(task, certain, GEOMETRIC), [0.5, 0.5], rtol=1e-6)
