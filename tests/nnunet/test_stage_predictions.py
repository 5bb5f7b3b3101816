"""F14: label maps handed from one stage of a cascade to the next."""

import numpy as np
import pytest

from segduet.core.errors import DataError
from segduet.nnunet.stage_predictions import StagePredictions


@pytest.fixture
def handed(tmp_path, toy_plan):
    configuration = toy_plan.configuration("3d_fullres")
    return StagePredictions.of(tmp_path / "model", "3d_cascade_fullres", configuration)


@pytest.fixture
def label_map():
    return np.random.default_rng(0).integers(0, 3, (9, 20, 18)).astype(np.int16)


def test_nnunets_own_dataset_reads_what_we_write(handed, label_map, tmp_path):
    """In nnU-Net's place, under its name, in the shape its loader takes."""
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    from segduet.nnunet.compressed_arrays import write_array
    from segduet.nnunet.plain_pickle import write_plain_pickle

    handed.write("a", label_map)
    assert handed.folder == tmp_path / "model" / "predicted_next_stage" / "3d_cascade_fullres"
    for name, dtype in (("a", np.float32), ("a_seg", np.int16)):
        write_array(tmp_path / f"{name}.b2nd", np.zeros((1, 9, 20, 18), dtype), (8, 16, 16))
    write_plain_pickle(tmp_path / "a.pkl", {})
    dataset = nnUNetDatasetBlosc2(str(tmp_path), ["a"], str(handed.folder))
    _, _, previous, _ = dataset.load_case("a")
    np.testing.assert_array_equal(previous[:], label_map)
    np.testing.assert_array_equal(handed.open("a", (9, 20, 18))[2:4, 5:], label_map[2:4, 5:])


def test_missing_cases_are_named_in_order_and_removed_ones_are_missing(handed, label_map):
    handed.write("b", label_map)
    assert handed.missing(["c", "b", "a"]) == ("c", "a")
    handed.remove(["b", "never there"])
    assert handed.missing(["b"]) == ("b",)


def test_a_label_map_of_another_preparation_is_refused(handed, label_map):
    handed.write("a", label_map)
    with pytest.raises(DataError, match=r"a\.b2nd: found a label map of shape \(9, 20, 18\).*anew"):
        handed.open("a", (9, 20, 19))


def test_a_damaged_label_map_names_the_stage_to_train(handed):
    handed.folder.mkdir(parents=True)
    (handed.folder / "a.b2nd").write_bytes(b"half a file")
    with pytest.raises(DataError, match="Train the stage before again"):
        handed.open("a", (9, 20, 18))
