"""F53: several models of one training answer as an ensemble."""

import dataclasses

import numpy as np
import pytest

import segduet
from segduet.core.description import DatasetDescription, SegduetSection
from segduet.core.errors import RequestError
from segduet.core.geometry import Geometry
from segduet.core.tasks import TaskSpec
from segduet.core.volume import Volume
from segduet.inference.predictor import predict_case
from segduet.networks.record import NetworkRecord
from segduet.training.checkpoint import write_model
from segduet.training.loop import train
from segduet.workflows.models import Checkpoints, model_header, open_model, write_model_folder

TASK = TaskSpec(name="kind", classes=("dark", "bright"))
DESCRIPTION = DatasetDescription(
    channel_names={"0": "CT"},
    labels={"background": 0, "blob": 1},
    numTraining=4,
    file_ending=".nii.gz",
    segduet=SegduetSection(tasks=(TASK,)),
)


@pytest.fixture
def train_folder(make_job, plan, tmp_path):
    """Trains three epochs into a model folder, as `segduet train` leaves it."""

    def build(keep_every):
        folder = tmp_path / f"keep{keep_every}__tiny__3d_fullres"
        job = make_job(
            folder=folder / "fold_0",
            epochs=3,
            keep_every=keep_every,
            averaging={"kind": "none"},
            optimizer={"name": "adamw", "learning_rate": 1e-2},
        )
        header = model_header([TASK], NetworkRecord(head=job.recipe.head))
        state = train(dataclasses.replace(job, model_header=header), resume=False)
        write_model_folder(folder, plan, DESCRIPTION)
        write_model(folder / "fold_0" / "model.safetensors", state.model, header)
        return folder

    return build


def _volume():
    image = np.random.default_rng(0).normal(0, 1, (1, 8, 16, 16)).astype(np.float32)
    geometry = Geometry(shape_zyx=(8, 16, 16), spacing_zyx_mm=(1.0, 1.0, 1.0))
    return Volume(array=image, geometry=geometry)


def _predict(loaded, members):
    model = loaded.model
    return predict_case(
        members,
        _volume(),
        case="c",
        plan=model.plan,
        configuration=model.configuration,
        labels=model.labels,
        settings=loaded.settings,
    )


def test_the_ensembles_softmax_is_the_mean_of_its_models(train_folder):
    """Epochs 1 and 2 kept, and the finished model: three answers, averaged by hand."""
    folder = train_folder(1)
    loaded = segduet.load(folder, checkpoints="all", device="cpu", mirrored=False)
    assert [p.name for p in open_model(folder, checkpoints=Checkpoints.ALL).kept_files] == [
        "model_epoch_0001.safetensors",
        "model_epoch_0002.safetensors",
    ]
    single = [_predict(loaded, [member]).probabilities["kind"] for member in loaded.members]
    together = loaded.predict(_volume()).probabilities["kind"]
    np.testing.assert_allclose(together, np.mean(single, axis=0), rtol=1e-12)
    assert len(single) == 3
    final = segduet.load(folder, device="cpu", mirrored=False)
    assert len(final.members) == 1
    np.testing.assert_array_equal(final.predict(_volume()).probabilities["kind"], single[0])
    assert not np.allclose(together, single[0], atol=1e-6)  # on differs from off


def test_a_training_that_kept_nothing_has_no_ensemble(train_folder):
    folder = train_folder(0)
    assert open_model(folder).kept_files == ()
    with pytest.raises(RequestError, match=r"no models kept on the way.*keep_every"):
        segduet.load(folder, checkpoints="all", device="cpu")
