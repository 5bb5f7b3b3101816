"""F14: four configurations train and predict; a cascade's second stage sees the first's masks."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch.nn import Conv2d, Conv3d

import segduet as package
from segduet.core.files import read_json, write_json
from segduet.io.images import read_image, read_label_map
from segduet.nnunet.compressed_arrays import open_array
from segduet.workflows.models import open_model
from segduet.workflows.trained_networks import load_networks

STAGES = ("3d_lowres", "3d_cascade_fullres")
CONFIGURATIONS = ("2d", "3d_fullres", *STAGES)
EARLY, LATE = ["c0", "c1", "c2", "c3"], ["c4", "c5", "c6", "c7"]


def model_of(road, configuration, trainer="segduet_default"):
    return road.model.parent / f"{trainer}__segduetSmallPlans__{configuration}"


def add_stages(road):
    """The entries that nnU-Net's planner adds for large images; and networks of few features."""
    source = road.preprocessed / "segduetSmallPlans.json"
    plan = read_json(source)
    for configuration in plan["configurations"].values():
        arguments = configuration["architecture"]["arch_kwargs"]
        arguments["features_per_stage"] = [4] * arguments["n_stages"]
    spacing = plan["configurations"]["3d_fullres"]["spacing"]
    plan["configurations"] |= {
        "3d_lowres": {
            "inherits_from": "3d_fullres",
            "data_identifier": "segduetSmallPlans_3d_lowres",
            "spacing": [1.6 * s for s in spacing],
            "next_stage": "3d_cascade_fullres",
        },
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    }
    write_json(source, plan)


@pytest.fixture(scope="module")
def train(segduet, tiny_training):
    """Trains one short epoch: `train(road, configuration, fold, *options)`."""

    def run(road, configuration, fold, *options):
        return segduet(
            *("train", "tiny", "-c", configuration, "-f", fold, *tiny_training, "--epochs", 1),
            *("--set", "steps_per_epoch=2", *options, "--data-root", road.data, "--json"),
        )

    return run


@pytest.fixture(scope="module")
def staged(road, segduet, train, tmp_path_factory):
    """Two folds, four configurations trained and one case predicted by each; not to be changed."""
    mine = road.copy(tmp_path_factory.mktemp("cascade") / "road")
    shutil.rmtree(mine.model.parent)
    add_stages(mine)
    folds = [{"train": LATE, "val": EARLY}, {"train": EARLY, "val": LATE}]
    write_json(mine.preprocessed / "splits_final.json", folds)
    for configuration in ("2d", "3d_lowres"):
        arguments = ("tiny", "-c", configuration, "--workers", 1, "--data-root", mine.data)
        assert segduet("preprocess", *arguments).code == 0
    for configuration, fold in (
        *(("2d", 0), ("3d_fullres", 0)),
        *(("3d_lowres", 0), ("3d_lowres", 1), ("3d_cascade_fullres", 0)),
    ):
        done = train(mine, configuration, fold)
        assert done.code == 0, (configuration, done.err)
    for configuration in CONFIGURATIONS:
        done = predict(segduet, mine, configuration)
        assert done.code == 0, (configuration, done.err)
    return mine


def predict(segduet, road, configuration):
    return segduet(
        *("predict", model_of(road, configuration), road.raw / "imagesTr" / "c6_0000.nii.gz"),
        *("--out", road.folder / configuration, "--no-tta", "--device", "cpu"),
    )


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_each_configuration_trains_an_epoch_and_predicts_a_full_volume(staged, configuration):
    """The mask lies on the image's grid; only the second stage has a channel more, per label."""
    mask = read_label_map(staged.folder / configuration / "c6.nii.gz")
    image = read_image([staged.raw / "imagesTr" / "c6_0000.nii.gz"])
    assert mask.geometry == image.geometry
    assert set(np.unique(mask.array)) <= {0, 1}
    run = model_of(staged, configuration) / "fold_0"
    assert read_json(run / "run.json")["epochs_done"] == 1
    network = load_networks(open_model(run))[0].network
    first = next(m for m in network.encoder.modules() if isinstance(m, Conv2d | Conv3d))
    assert first.in_channels == (2 if configuration == "3d_cascade_fullres" else 1)


def test_every_case_is_handed_on_by_the_fold_that_did_not_learn_from_it(staged):
    """Its validation mask on the next stage's prepared grid."""
    folder = model_of(staged, "3d_lowres") / "predicted_next_stage" / "3d_cascade_fullres"
    assert sorted(p.name for p in folder.iterdir()) == sorted(f"{c}.b2nd" for c in EARLY + LATE)
    prepared = staged.preprocessed / "segduetSmallPlans_3d_fullres"
    for fold, cases in enumerate((EARLY, LATE)):
        for case in cases:
            handed = open_array(folder / f"{case}.b2nd")[:]
            assert handed.shape == open_array(prepared / f"{case}.b2nd").shape[1:]
            validation = model_of(staged, "3d_lowres") / f"fold_{fold}" / "validation"
            # the full-resolution grid is the native one here, and nothing is cropped away
            np.testing.assert_array_equal(
                handed, read_label_map(validation / f"{case}.nii.gz").array[0]
            )
    assert read_json(model_of(staged, STAGES[1]) / "fold_0" / "run.json")["previous_stage"] == (
        "segduet_default"
    )


def test_the_first_stages_mask_decides_what_the_second_sees(staged):
    """Python API: engines get image and mask; another mask gives another answer."""
    volume = read_image([staged.raw / "imagesTr" / "c6_0000.nii.gz"])
    loaded = package.load(model_of(staged, "3d_cascade_fullres"), device="cpu", mirrored=False)
    answer = loaded.predict(volume, "c6")
    written = read_label_map(staged.folder / "3d_cascade_fullres" / "c6.nii.gz")
    np.testing.assert_array_equal(answer.label_map, written.array[0])
    assert len(loaded.first_stage.members) == 2
    engines = {m.engine.name for m in (*loaded.members, *loaded.first_stage.members)}
    assert engines == {"openvino cpu fp32"}
    assert next(iter(answer.seconds)) == "first_stage"

    first = loaded.first_stage.predict(volume, "c6").label_map
    engine = loaded.members[0].engine
    seen = []
    predict_windows = engine.predict
    engine.predict = lambda windows, shares: (
        seen.append(windows.copy()) or predict_windows(windows, shares)
    )
    loaded.predict(volume, "c6")
    (window,) = np.concatenate(seen)
    assert window.shape == (2, 8, 20, 20)
    np.testing.assert_array_equal(window[1], first)
    other = np.stack([window[0], 1 - window[1]])
    shares = np.ones((1, 1, 8, 20, 20), np.float32)
    said = [predict_windows(w[None], shares).logits for w in (window, other)]
    assert np.abs(said[0] - said[1]).max() > 1e-3


def test_the_manifest_names_the_first_stage(staged):
    arguments = read_json(staged.folder / "3d_cascade_fullres" / "manifest.json")["arguments"]
    expected = {"model": str(model_of(staged, "3d_lowres").resolve()), "folds": ["0", "1"]}
    assert arguments["first_stage"] == expected
    other = read_json(staged.folder / "3d_fullres" / "manifest.json")["arguments"]
    assert other["first_stage"] is None


def test_the_second_stage_is_not_exported_without_the_first(staged, segduet, tmp_path):
    """B12: a bundle could not find the masks it starts from."""
    out = tmp_path / "model.zip"
    done = segduet("export", model_of(staged, "3d_cascade_fullres"), "--to", "bundle", "--out", out)
    assert done.code == 2
    assert "the second stage of a cascade, which needs the masks of 3d_lowres" in done.err
    assert list(tmp_path.iterdir()) == []


def test_stock_nnunet_loads_the_second_stages_twin(staged, any_torchvision):
    """nnU-Net builds the network with the input channels that it counts itself."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"), verbose=False, allow_tqdm=False)
    model = model_of(staged, "3d_cascade_fullres")
    predictor.initialize_from_trained_model_folder(str(model), use_folds=("0",))
    predictor.network.load_state_dict(predictor.list_of_parameters[0])
    assert predictor.configuration_manager.previous_stage_name == "3d_lowres"


@pytest.fixture
def changed(staged, tmp_path):
    """A copy to be changed."""
    return staged.copy(tmp_path / "road")


def test_missing_first_stage_predictions_name_the_folds_to_train(changed, train):
    """One message: how many, the first, and how to get them."""
    folder = model_of(changed, "3d_lowres") / "predicted_next_stage" / "3d_cascade_fullres"
    for case in ("c7", "c5"):
        (folder / f"{case}.b2nd").unlink()
    done = train(changed, "3d_cascade_fullres", 1)
    assert done.code == 2
    assert "found 2 of 8 missing, first 'c5'" in done.err
    assert "`segduet train Dataset501_tiny -c 3d_lowres -f K --name segduet_default`" in done.err
    assert "for K = 1 (" in done.err
    assert not model_of(changed, "3d_cascade_fullres").joinpath("fold_1").exists()


def test_training_the_first_stage_anew_takes_back_what_it_handed_on(changed, train):
    """Until it is done: here it does not validate, so its cases are missing again."""
    options = ("--overwrite", "--set", "validation.final=false")
    assert train(changed, "3d_lowres", 1, *options).code == 0
    done = train(changed, "3d_cascade_fullres", 1)
    assert (done.code, "found 4 of 8 missing, first 'c4'" in done.err) == (2, True)


def test_cases_that_no_fold_validates_ask_for_another_split(changed, train):
    """A single train and val split can never feed a second stage."""
    split = [{"train": [*EARLY, "c4", "c5", "c7"], "val": ["c6"]}]
    write_json(changed.preprocessed / "splits_final.json", split)
    shutil.rmtree(model_of(changed, "3d_lowres") / "predicted_next_stage")
    done = train(changed, "3d_cascade_fullres", 0, "--overwrite")
    assert done.code == 2
    assert "No fold validates 7 of them" in done.err
    assert "--folds 5" in done.err


def test_a_first_stage_of_another_name_is_used_where_it_is_named(changed, train, segduet):
    """In training, and then in prediction without saying so again."""
    old, new = (model_of(changed, "3d_lowres", name) for name in ("segduet_default", "coarse"))
    old.rename(new)
    again = (changed, "3d_cascade_fullres", 0, "--overwrite")
    assert "segduet_default__segduetSmallPlans__3d_lowres" in train(*again).err
    done = train(*again, "--previous-stage", "coarse")
    assert done.code == 0, done.err
    assert predict(segduet, changed, "3d_cascade_fullres").code == 0
    arguments = read_json(changed.folder / "3d_cascade_fullres" / "manifest.json")["arguments"]
    assert arguments["first_stage"]["model"] == str(new.resolve())


def test_a_first_stage_is_refused_for_a_configuration_that_has_none(changed, train):
    done = train(changed, "3d_fullres", 1, "--previous-stage", "segduet_default")
    assert done.code == 2
    assert "3d_fullres, which has no stage before it" in done.err


def test_a_second_stage_without_its_first_does_not_predict(changed, segduet):
    shutil.rmtree(model_of(changed, "3d_lowres"))
    done = predict(segduet, changed, "3d_cascade_fullres")
    assert done.code == 2
    assert f"no first stage in {model_of(changed, '3d_lowres').resolve()}" in done.err


def test_a_first_stage_of_other_labels_is_refused(changed, segduet):
    source = model_of(changed, "3d_lowres") / "dataset.json"
    content = read_json(source)
    (name,) = set(content["labels"]) - {"background"}
    content["labels"]["other"] = content["labels"].pop(name)
    source.write_text(json.dumps(content))
    done = predict(segduet, changed, "3d_cascade_fullres")
    assert done.code == 2
    assert "other labels or another order of the axes" in done.err


def test_a_first_stage_that_only_classifies_is_refused(changed, train, segduet):
    """One fold of it is enough; it hands nothing on either."""
    options = ("--overwrite", "--set", "answers=classification", "--set", "head.kind=bottleneck")
    done = train(changed, "3d_lowres", 1, *options)
    assert done.code == 0, done.err
    assert "found 4 of 8 missing" in train(changed, "3d_cascade_fullres", 1).err
    done = predict(segduet, changed, "3d_cascade_fullres")
    assert (done.code, "folds that only classify" in done.err) == (2, True)
