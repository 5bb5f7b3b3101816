"""F73, F74, F80, B15: a case is worked off slice by slice, and that changes nothing but memory."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from segduet.core.errors import DataError, RequestError
from segduet.core.tasks import TaskSpec
from segduet.inference.engine import WindowAnswers
from segduet.inference.predictor import predict_prepared
from segduet.inference.prepared_answer import mean_slabs
from segduet.inference.settings import PredictionSettings
from segduet.inference.window_pass import WindowPass, put_together

_TASK = TaskSpec(name="type", classes=("a", "b", "c"))


def _image(shape, seed=0):
    return np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)


def _pass(engine, case, **changes):
    return WindowPass(
        engine, case, patch_zyx=(4, 4, 4), tasks=(_TASK,), settings=PredictionSettings(**changes)
    )


@pytest.mark.parametrize("tile_batch", [1, 3, 50])
def test_slabs_in_order_are_the_logits_of_the_whole_case(make_engine, prepared, tile_batch):
    """B15: bit by bit, whatever the batch."""
    case = prepared(_image((13, 6, 9)))
    whole = predict_prepared(
        make_engine(), case, patch_zyx=(4, 4, 4), tasks=(_TASK,), settings=PredictionSettings()
    )
    windows = _pass(make_engine(), case, tile_batch=tile_batch)
    slabs = [slab.copy() for slab in windows.slabs()]
    assert len(slabs) > 3
    np.testing.assert_array_equal(np.concatenate(slabs, axis=1), whole.logits)
    answers = windows.answers()
    np.testing.assert_array_equal(answers.probabilities["type"], whole.said.probabilities["type"])


def test_networks_in_step_give_the_mean_of_their_logits(make_engine, prepared):
    """nnU-Net averages logits: gains 1 and 3 give twice the logits of gain 1."""
    case = prepared(_image((13, 6, 9)))
    passes = [_pass(make_engine(gain=gain), case) for gain in (1.0, 3.0)]
    together = put_together(mean_slabs([p.slabs() for p in passes]), (13, 6, 9))
    alone = put_together(_pass(make_engine(), case).slabs(), (13, 6, 9))
    np.testing.assert_allclose(together, 2 * alone, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axes", [(), (2,)])
def test_logits_that_are_not_finite_fail_by_case_name(make_engine, prepared, value, axes):
    """F80: one voxel in the last window; a NaN would otherwise end as class 0."""

    class Broken(make_engine):
        def predict(self, windows, shares):
            answers = super().predict(windows, shares)
            if windows.max() > 50:
                answers.logits[0, 1, 2, 2, 2] = value
            return answers

    image = _image((6, 9, 9))
    image[0, -2, -2, -2] = 99
    with pytest.raises(DataError, match=r"case 'case_1'.*NaN or infinite.*fake"):
        list(_pass(Broken(), prepared(image), mirror_axes=axes).slabs())


def test_too_little_memory_for_a_batch_is_said_with_a_remedy(make_engine, prepared):
    """F73: what numpy or an engine says of memory becomes a request to act on."""

    class Greedy(make_engine):
        def predict(self, windows, shares):
            raise MemoryError

    with pytest.raises(RequestError, match=r"not enough memory for 5 windows.*smaller tile batch"):
        list(_pass(Greedy(), prepared(_image((6, 9, 9))), tile_batch=5).slabs())


def test_a_pass_that_is_given_up_leaves_no_thread(make_engine, prepared):
    """F76: an error elsewhere ends the pass in its middle."""
    before = set(threading.enumerate())
    slabs = _pass(make_engine(), prepared(_image((13, 6, 9)))).slabs()
    next(slabs)
    assert set(threading.enumerate()) != before
    slabs.close()
    assert set(threading.enumerate()) == before


def test_answers_may_lie_in_memory_that_an_engine_uses_again(make_engine, prepared):
    class Reusing(make_engine):
        memory = np.empty((1, 2, 4, 4, 4), np.float32)

        def predict(self, windows, shares):
            answers = super().predict(windows, shares)
            self.memory[...] = answers.logits
            return WindowAnswers(logits=self.memory, sums=answers.sums, evidence=answers.evidence)

    case = prepared(_image((6, 9, 9)))
    for axes in ((), (0, 2)):
        logits = [
            put_together(_pass(engine(), case, mirror_axes=axes).slabs(), (6, 9, 9))
            for engine in (make_engine, Reusing)
        ]
        np.testing.assert_array_equal(*logits)


_LONG_CASE = """
import json, sys
import numpy as np
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.plan import Plan
from segduet.core.volume import Volume
from segduet.inference.engine import HeadAnswers, Member, WindowAnswers
from segduet.inference.predictor import predict_case
from segduet.inference.settings import PredictionSettings

class Stub:
    name, num_spatial_dims = "stub", 3
    logits = np.random.default_rng(0).normal(size=(1, 8, 16, 64, 64)).astype(np.float32)
    def predict(self, windows, shares):
        return WindowAnswers(logits=self.logits)
    def answer(self, sums):
        return HeadAnswers(logits={}, features={})

depth = int(sys.argv[1])
plan = Plan.model_validate(json.loads(sys.argv[2]))
labels = LabelScheme.from_dataset_json(
    {"background": 0, **{str(i): i for i in range(1, 8)}}, None, where="test"
)
image = np.random.default_rng(0).integers(1, 99, (1, depth, 160, 160), dtype=np.int16)
geometry = Geometry(shape_zyx=image.shape[1:], spacing_zyx_mm=(1.0, 1.0, 1.0))
prediction = predict_case(
    [Member(engine=Stub())], Volume(array=image, geometry=geometry), case="long", plan=plan,
    configuration=plan.configuration("c"), labels=labels, settings=PredictionSettings(),
)
assert prediction.label_map.shape == image.shape[1:]
# not getrusage: its peak is inherited from the process of the tests
status = open("/proc/self/status").read().split()
print(int(status[status.index("VmHWM:") + 1]) / 1024)
"""


def _peak_mib(depth, plan):
    command = [sys.executable, "-c", _LONG_CASE, str(depth), json.dumps(plan)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory as Linux tells it")
def test_memory_does_not_grow_by_the_logits_of_a_long_case():
    """B15: 160 more slices of 8 classes are 125 MiB of logits on one grid and 125 on the other.

    Held are the image (int16), its prepared float32 and normalised copies and the label map: 11
    bytes per voxel, 43 MiB.
    """
    how = {"order_z": 0, "force_separate_z": None}
    plan = {
        "dataset_name": "Dataset999_toy",
        "plans_name": "plan",
        "configurations": {
            "c": {
                "data_identifier": "plan_c",
                "batch_size": 2,
                "patch_size": [16, 64, 64],
                "median_image_size_in_voxels": [16, 64, 64],
                "spacing": [1.01, 1.0, 1.0],
                "normalization_schemes": ["NoNormalization"],
                "use_mask_for_norm": [False],
                "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **how},
                "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **how},
                "architecture": {"network_class_name": "x", "arch_kwargs": {}},
                "batch_dice": False,
            }
        },
    }
    assert _peak_mib(200, plan) - _peak_mib(40, plan) < 75
