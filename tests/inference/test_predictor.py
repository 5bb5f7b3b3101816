"""F63-F66: windows of a prepared case become one segmentation and one answer per task."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from segduet.core.errors import DataError, RequestError
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.plan import Plan
from segduet.core.tasks import TaskSpec
from segduet.core.volume import Volume
from segduet.inference.aggregation import Aggregation
from segduet.inference.engine import HeadAnswers, Member, WindowAnswers
from segduet.inference.predictor import predict_case, predict_prepared
from segduet.inference.settings import PredictionSettings
from segduet.windows.tiles import region_at, tile_starts

_TASK = TaskSpec(name="type", classes=("a", "b", "c"))
_LABELS = LabelScheme.from_dataset_json({"background": 0, "lesion": 1}, None, where="test")


def _image(shape, seed=0):
    return np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)


def _answer(engine, case, patch, **changes):
    return predict_prepared(
        engine, case, patch_zyx=patch, tasks=(_TASK,), settings=PredictionSettings(**changes)
    )


def _alone(engine, windows, shares=None):
    """Probabilities (T, 3) and evidence (T,) of windows that answer by themselves."""
    shares = np.ones_like(windows) if shares is None else shares
    answers = engine.predict(np.ascontiguousarray(windows), shares)
    logits = engine.answer(answers.sums).logits["type"]
    return softmax(logits.astype(float), axis=1), answers.evidence["type"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(*[st.integers(1, 12)] * 3),
    st.tuples(*[st.integers(1, 8)] * 3),
    st.fixed_dictionaries(
        {"step": st.sampled_from([0.3, 0.5, 1.0]), "tile_batch": st.integers(1, 5)}
    ),
)
def test_a_voxelwise_network_gives_its_own_image_back(make_engine, prepared, shape, patch, changes):
    """F63: head 1 is minus the image; padding, tiling, blending and cropping change nothing."""
    image = _image(shape)
    answer = _answer(make_engine(), prepared(image), patch, **changes)
    assert answer.logits.dtype == np.float32
    np.testing.assert_allclose(answer.logits[1], -image[0], atol=1e-5)


@pytest.mark.parametrize("rule", list(Aggregation))
def test_one_window_gives_the_softmax_of_the_network(engine, prepared, rule):
    """F64: single-tile case = net output."""
    image = _image((4, 5, 6))
    answer = _answer(engine, prepared(image), (4, 5, 6), aggregation=rule)
    expected, evidence = _alone(engine, image[None])
    np.testing.assert_allclose(answer.said.probabilities["type"], expected[0], rtol=1e-6)
    assert answer.said.evidence["type"] == evidence[0] == (image > 1).sum() > 0
    np.testing.assert_allclose(answer.said.features["type"][1], image.mean(), atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 9, 13), (3, 9, 4)])
@pytest.mark.parametrize(
    "changes", [{}, {"step": 0.3}, {"step": 1.0}, {"mirror_axes": (0, 1)}, {"tile_batch": 3}]
)
def test_the_case_is_pooled_with_every_voxel_once(engine, prepared, shape, changes):
    """F64: class logit 1 is the mean of the image, however it is cut, overlapped and padded."""
    image = _image(shape)
    answer = _answer(engine, prepared(image), (4, 4, 4), **changes)
    assert answer.said.features["type"][1] == pytest.approx(image.mean(), abs=1e-6)


def test_windows_vote_by_their_evidence(engine, prepared):
    image = _image((4, 9, 13))
    patch = (4, 4, 4)
    case = prepared(image)
    answer = _answer(engine, case, patch, aggregation=Aggregation.EVIDENCE)
    windows = np.stack([image[:, *region_at(s, patch)] for s in tile_starts((4, 9, 13), patch)])
    probabilities, evidence = _alone(engine, windows)
    np.testing.assert_allclose(
        answer.said.probabilities["type"],
        np.average(probabilities, axis=0, weights=evidence),
        rtol=1e-6,
    )
    mean = _answer(engine, case, patch, aggregation=Aggregation.MEAN)
    np.testing.assert_allclose(
        mean.said.probabilities["type"], probabilities.mean(axis=0), rtol=1e-6
    )
    best = _answer(engine, case, patch, aggregation=Aggregation.MAX)
    first = evidence == evidence.max()
    np.testing.assert_allclose(
        best.said.probabilities["type"], probabilities[first].mean(axis=0), rtol=1e-6
    )


def test_without_evidence_padding_does_not_weigh(engine, prepared):
    """Image 4 x 4 x 2 in a 4 x 4 x 4 patch; along y two windows cover 4 and 4 rows of 6."""
    image = np.clip(_image((4, 6, 2)), None, 0.5)
    answer = _answer(engine, prepared(image), (4, 4, 4), aggregation=Aggregation.EVIDENCE)
    padded = np.pad(image, ((0, 0), (0, 0), (0, 0), (1, 1)))
    windows = np.stack([padded[:, :, y : y + 4] for y in (0, 2)])
    assert answer.said.evidence["type"] == 0
    np.testing.assert_allclose(
        answer.said.probabilities["type"], _alone(engine, windows)[0].mean(axis=0), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("shape", "step"), [((6, 9, 13), 0.5), ((6, 9, 13), 1.0), ((3, 9, 4), 0.5)]
)
def test_attention_over_all_windows_sums_to_one(engine, prepared, shape, step):
    """F18: the fake looks at voxels above 1 three times as hard, wherever the windows lie."""
    image = _image(shape)
    answer = _answer(engine, prepared(image), (4, 4, 4), step=step, keep_attention=True,
                     mirror_axes=(1,))  # fmt: skip
    weights = np.where(image[0] > 1, 3.0, 1.0)
    assert answer.said.attention["type"].dtype == np.float32
    np.testing.assert_allclose(answer.said.attention["type"], weights / weights.sum(), rtol=1e-5)
    assert _answer(engine, prepared(image), (4, 4, 4)).said.attention == {}


def test_attention_of_windows_that_answer_alone_is_refused():
    with pytest.raises(RequestError, match="attention maps with the aggregation mean"):
        PredictionSettings(aggregation=Aggregation.MEAN, keep_attention=True)


@pytest.mark.parametrize("tile_batch", [2, 7, 100])
def test_the_batch_of_windows_changes_nothing(make_engine, prepared, tile_batch):
    case = prepared(_image((6, 9, 7)))
    one, many = make_engine(), make_engine()
    expected = _answer(one, case, (4, 4, 4), mirror_axes=(1,))
    answer = _answer(many, case, (4, 4, 4), mirror_axes=(1,), tile_batch=tile_batch)
    np.testing.assert_allclose(answer.logits, expected.logits, atol=1e-6)
    np.testing.assert_array_equal(
        answer.said.probabilities["type"], expected.said.probabilities["type"]
    )
    assert sum(many.batch_sizes) == sum(one.batch_sizes)
    assert len(many.batch_sizes) < len(one.batch_sizes)


@pytest.mark.parametrize(("axes", "mirrors"), [((), 1), (None, 1), ((2,), 2), ((0, 1, 2), 8)])
def test_the_network_runs_once_per_window_and_mirror(engine, prepared, axes, mirrors):
    """F65: both answers come from one pass."""
    _answer(engine, prepared(_image((6, 9, 7))), (4, 4, 4), mirror_axes=axes)
    num_tiles = len(tile_starts((6, 9, 7), (4, 4, 4)))
    assert engine.batch_sizes == [1] * (num_tiles * mirrors)


def test_a_2d_network_sees_every_slice_once(make_engine, prepared):
    engine = make_engine(num_spatial_dims=2)
    image = _image((5, 8, 8))
    answer = _answer(engine, prepared(image), (1, 8, 8))
    assert len(engine.batch_sizes) == 5
    np.testing.assert_allclose(answer.logits[1], -image[0], atol=1e-6)


def test_a_2d_network_cannot_be_mirrored_along_a_third_axis(make_engine, prepared):
    with pytest.raises(RequestError, match="mirror axes"):
        _answer(make_engine(num_spatial_dims=2), prepared(_image((1, 4, 4))), (1, 4, 4),
                mirror_axes=(0, 1, 2))  # fmt: skip


@pytest.mark.parametrize("wrong", [{"step": 0}, {"step": 1.2}, {"step": -1}, {"tile_batch": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(RequestError, match="prediction settings"):
        PredictionSettings(**wrong)


def _plan(patch=(4, 8, 8)):
    return Plan.model_validate(
        {
            "dataset_name": "Dataset999_toy",
            "plans_name": "plan",
            "configurations": {
                "c": {
                    "data_identifier": "plan_c",
                    "batch_size": 2,
                    "patch_size": list(patch),
                    "median_image_size_in_voxels": [8.0] * len(patch),
                    "spacing": [1.0] * len(patch),
                    "normalization_schemes": ["NoNormalization"],
                    "use_mask_for_norm": [False],
                    "resampling_fn_data_kwargs": {"is_seg": False, "order": 3},
                    "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1},
                    "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1},
                    "architecture": {"network_class_name": "x", "arch_kwargs": {}},
                    "batch_dice": False,
                }
            },
        }
    )


def _volume(shape=(6, 12, 9)):
    geometry = Geometry(
        shape_zyx=shape, spacing_zyx_mm=(1.0, 1.0, 1.0), origin_xyz_mm=(5.0, -3.0, 2.0)
    )
    return Volume(array=_image(shape), geometry=geometry)


def _predict(engines, volume, tasks=(_TASK,), **changes):
    plan = _plan()
    return predict_case(
        [Member(engine=engine, tasks=tasks) for engine in engines], volume, case="case_1",
        plan=plan, configuration=plan.configuration("c"), labels=_LABELS,
        settings=PredictionSettings(**changes),
    )  # fmt: skip


def test_a_case_is_answered_on_its_own_grid(engine):
    """Logits (image * slope, -image): the lesion is where the image is below 0, before blending."""
    volume = _volume((4, 8, 8))
    prediction = _predict([engine], volume)
    expected = (volume.array[0] < 0).astype(np.uint8)
    assert prediction.case == "case_1"
    assert prediction.geometry == volume.geometry
    np.testing.assert_array_equal(prediction.label_map, expected)
    assert set(prediction.seconds) == {"prepare", "network", "restore"}
    assert prediction.evidence == {"type": (volume.array > 1).sum()}


def test_folds_are_averaged_as_logits_and_as_probabilities(make_engine):
    """nnU-Net averages the folds' logits: gains of 1, 1 and -5 leave minus the image."""
    volume = _volume((4, 8, 8))
    gains = (1.0, 1.0, -5.0)
    alone = [_predict([make_engine(gain=g)], volume) for g in gains]
    together = _predict([make_engine(gain=g) for g in gains], volume)
    np.testing.assert_allclose(
        together.probabilities["type"],
        np.mean([p.probabilities["type"] for p in alone], axis=0),
        rtol=1e-12,
    )
    np.testing.assert_array_equal(
        together.features["type"], np.concatenate([p.features["type"] for p in alone])
    )
    np.testing.assert_array_equal(together.label_map, (volume.array[0] > 0).astype(np.uint8))
    np.testing.assert_array_equal(alone[0].label_map, (volume.array[0] < 0).astype(np.uint8))


def test_a_stock_network_without_tasks_gives_a_mask_and_no_answers():
    """B11: fast prediction with a plain nnU-Net."""

    class Stock:
        name, num_spatial_dims = "stock", 3

        def predict(self, windows, shares):
            return WindowAnswers(logits=np.concatenate([windows, -windows], axis=1))

        def answer(self, sums):
            return HeadAnswers(logits={}, features={})

    volume = _volume()
    prediction = _predict([Stock()], volume, tasks=())
    np.testing.assert_array_equal(prediction.label_map, (volume.array[0] < 0).astype(np.uint8))
    assert prediction.probabilities == {}
    assert prediction.evidence == {}


@pytest.mark.parametrize(
    "tasks",
    [
        (),
        (TaskSpec(name="grade", classes=("a", "b", "c")),),
        (TaskSpec(name="type", classes=("a", "b")),),
        (_TASK, TaskSpec(name="grade", classes=("a", "b"))),
    ],
)
def test_a_network_for_other_tasks_is_refused(engine, tasks):
    """F80: no class is invented for a task the network was not trained for."""
    with pytest.raises(DataError, match=r"answers \{'type': 3\}"):
        _predict([engine], _volume(), tasks=tasks)


def test_a_network_that_only_classifies_gives_answers_and_no_mask(make_engine):
    class Classifier(make_engine):
        def predict(self, windows, shares):
            both = super().predict(windows, shares)
            return WindowAnswers(logits=both.logits[:, :0], sums=both.sums, evidence=both.evidence)

    volume = _volume()
    prediction = _predict([Classifier()], volume)
    assert prediction.label_map is None
    np.testing.assert_array_equal(
        prediction.probabilities["type"],
        _predict([make_engine()], volume).probabilities["type"],
    )


def test_attention_comes_back_on_the_users_grid(engine):
    """F18: a map of the image's shape that sums to 1; folds are averaged."""
    volume = _volume()
    seen = _predict([engine, engine], volume, keep_attention=True).attention["type"]
    assert seen.shape == volume.array.shape[1:]
    assert seen.sum(dtype=float) == pytest.approx(1, abs=1e-5)
    assert seen[volume.array[0] > 1].mean() == pytest.approx(
        3 * seen[volume.array[0] <= 1].mean(), rel=1e-4
    )
