"""Prepared cases on disk: what comes back, what counts as whole, what is refused."""

import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segduet.core.errors import DataError
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.plan import Plan
from segduet.core.prepared import Placement, PreparedCase
from segduet.nnunet.compressed_arrays import open_array, write_array
from segduet.nnunet.store import PreparedStore

NESTED = LabelScheme.from_dataset_json(
    {"background": 0, "organ": [1, 2], "lesion": 2}, [1, 2], where="test"
)
FORWARD, BACKWARD = (2, 0, 1), (1, 2, 0)


def make_case(case: str = "p.1 x", *, with_mask: bool = True) -> PreparedCase:
    rng = np.random.default_rng(0)
    placement = Placement(
        native=Geometry(
            shape_zyx=(8, 9, 7),
            spacing_zyx_mm=(1.0, 0.5, 3.0),
            origin_xyz_mm=(1.0, -2.0, 3.5),
            direction_xyz=(0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
        ),
        transpose_forward=FORWARD,
        transpose_backward=BACKWARD,
        crop_box=((1, 6), (0, 8), (2, 9)),
        prepared_shape=(5, 6, 7),
    )
    return PreparedCase(
        case=case,
        image=rng.normal(size=(2, 5, 6, 7)).astype(np.float32),
        label_map=rng.integers(-1, 3, (5, 6, 7)).astype(np.int16) if with_mask else None,
        placement=placement,
    )


@pytest.fixture
def store(tmp_path: Path) -> PreparedStore:
    return PreparedStore(
        folder=tmp_path / "plans_c", records=tmp_path / "records", patch_zyx=(4, 4, 4)
    )


@pytest.fixture
def stored(store: PreparedStore) -> tuple[PreparedStore, PreparedCase]:
    prepared = make_case()
    store.write(prepared, NESTED, settings_hash="s1")
    return store, prepared


def test_a_case_comes_back_as_it_was(stored: tuple[PreparedStore, PreparedCase]) -> None:
    store, prepared = stored
    assert prepared.label_map is not None
    found = store.open(prepared.case)
    np.testing.assert_array_equal(found.image[:], prepared.image)
    np.testing.assert_array_equal(found.image[:, 1:3, 2:, :4], prepared.image[:, 1:3, 2:, :4])
    np.testing.assert_array_equal(found.label_map[0], prepared.label_map)
    assert (found.image.dtype, found.label_map.dtype) == (np.float32, np.int16)
    assert found.placement == prepared.placement
    assert found.has_label_map
    # the command's own manifest lies beside the records and is no case
    (store.records / "manifest.json").write_text("{}")
    assert store.cases() == (prepared.case,)


def test_regions_are_counted_and_located(stored: tuple[PreparedStore, PreparedCase]) -> None:
    """F09: the voxels a region's patches are drawn around belong to it."""
    store, prepared = stored
    labels = prepared.label_map
    assert labels is not None
    found = store.open(prepared.case)
    assert found.region_voxels == {"organ": (labels > 0).sum(), "lesion": (labels == 2).sum()}
    assert found.evidence_voxels("lesion") == (labels == 2).sum()
    assert found.evidence_voxels(None) == (labels > 0).sum()
    assert np.all(labels[tuple(found.locations["lesion"].T)] == 2)
    assert len(found.locations["lesion"]) == (labels == 2).sum()


def test_nnunet_finds_its_own_files_and_no_others(
    stored: tuple[PreparedStore, PreparedCase],
) -> None:
    """B11: keys, kinds and file endings of nnU-Net 2.8's preprocessed folder."""
    store, prepared = stored
    assert {p.name for p in store.folder.iterdir()} == {
        "p.1 x.b2nd",
        "p.1 x_seg.b2nd",
        "p.1 x.pkl",
    }
    properties = pickle.loads((store.folder / "p.1 x.pkl").read_bytes())
    assert properties["spacing"] == [1.0, 0.5, 3.0]
    assert properties["sitk_stuff"] == {
        "spacing": (3.0, 0.5, 1.0),
        "origin": (1.0, -2.0, 3.5),
        "direction": prepared.placement.native.direction_xyz,
    }
    assert properties["shape_before_cropping"] == (7, 8, 9)
    assert properties["bbox_used_for_cropping"] == [[1, 6], [0, 8], [2, 9]]
    assert properties["shape_after_cropping_and_before_resampling"] == (5, 8, 7)
    assert set(properties["class_locations"]) == {(1, 2), 2}
    # voxel (x, y, z) = (1, 2, 3) in RAS millimetres; ITK's are LPS: (1, -2, 3.5) + D @ (3, 1, 3)
    ras = properties["nibabel_stuff"]["original_affine"] @ (1.0, 2.0, 3.0, 1.0)
    assert ras.tolist() == [-2.0, -1.0, 0.5, 1.0]


@pytest.mark.parametrize(
    "part", ["folder/p.1 x.b2nd", "folder/p.1 x_seg.b2nd", "folder/p.1 x.pkl", "records/p.1 x.json"]
)
def test_a_case_is_complete_only_with_every_part_and_its_settings(
    stored: tuple[PreparedStore, PreparedCase], part: str
) -> None:
    """B10."""
    store, prepared = stored
    assert store.is_complete(prepared.case, "s1")
    assert not store.is_complete(prepared.case, "s2")
    assert not store.is_complete("another", "s1")
    top, name = part.split("/")
    ({"folder": store.folder, "records": store.records}[top] / name).unlink()
    assert not store.is_complete(prepared.case, "s1")


def test_a_case_without_a_mask(store: PreparedStore) -> None:
    """B03: the label map reads as -1 everywhere, and stock nnU-Net finds no mask to train on."""
    store.write(make_case(), NESTED, settings_hash="s")
    store.write(make_case(with_mask=False), NESTED, settings_hash="s")
    found = store.open("p.1 x")
    assert not found.has_label_map
    assert found.label_map.shape == (1, 5, 6, 7)
    assert np.all(found.label_map[:, 1:3] == -1)
    assert found.evidence_voxels(None) == 0
    assert found.locations["organ"].shape == (0, 3)
    assert not (store.folder / "p.1 x_seg.b2nd").exists()
    assert store.is_complete("p.1 x", "s")


def test_what_is_missing_or_damaged_is_named(stored: tuple[PreparedStore, PreparedCase]) -> None:
    store, prepared = stored
    with pytest.raises(DataError, match="segduet preprocess"):
        store.open("nobody")
    (store.folder / "p.1 x.b2nd").write_bytes(b"not an array")
    with pytest.raises(DataError, match=r"p\.1 x\.b2nd"):
        store.open(prepared.case)


def test_a_killed_run_leaves_old_or_new_cases_never_half_ones(tmp_path: Path) -> None:
    """B10: SIGKILL at any moment; what has a record can be read in full."""
    script = f"""
import importlib.util, itertools
spec = importlib.util.spec_from_file_location("cases", {str(Path(__file__))!r})
cases = importlib.util.module_from_spec(spec); spec.loader.exec_module(cases)
from pathlib import Path
top = Path({str(tmp_path)!r})
store = cases.PreparedStore(folder=top / "f", records=top / "r", patch_zyx=(4, 4, 4))
for turn in itertools.count():
    store.write(cases.make_case(f"c{{turn % 3}}"), cases.NESTED, settings_hash=str(turn))
"""
    store = PreparedStore(folder=tmp_path / "f", records=tmp_path / "r", patch_zyx=(4, 4, 4))
    for delay in (0.02, 0.05):
        process = subprocess.Popen([sys.executable, "-c", script])
        deadline = time.monotonic() + 60
        while len(store.cases()) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert store.cases()
        for case in store.cases():
            np.testing.assert_array_equal(store.open(case).image[:], make_case().image)
    store.remove_leftovers()
    assert not list(tmp_path.rglob(".partial-*"))


def _plan(toy_plan: Plan) -> Plan:
    turned = {"transpose_forward": FORWARD, "transpose_backward": BACKWARD}
    return toy_plan.model_copy(update=turned)


def test_a_stock_folder_can_be_adopted(
    stored: tuple[PreparedStore, PreparedCase], toy_plan: Plan
) -> None:
    """B11: from nnU-Net's files alone, the same record as ours."""
    store, prepared = stored
    before = store.open(prepared.case)
    for path in store.records.iterdir():
        path.unlink()
    assert store.adopt_stock(_plan(toy_plan), NESTED) == (prepared.case,)
    after = store.open(prepared.case)
    assert after.placement == before.placement
    assert after.region_voxels == before.region_voxels
    np.testing.assert_array_equal(after.locations["organ"], before.locations["organ"])
    assert store.adopt_stock(_plan(toy_plan), NESTED) == ()
    assert not store.is_complete(prepared.case, "s1")


def test_adopting_runs_no_code_of_a_pickle(
    stored: tuple[PreparedStore, PreparedCase], toy_plan: Plan, tmp_path: Path
) -> None:
    """F52."""
    store, _ = stored
    (store.records / "p.1 x.json").unlink()
    evil = f"cos\nmkdir\n(V{tmp_path / 'made'}\ntR.".encode()
    (store.folder / "p.1 x.pkl").write_bytes(evil)
    with pytest.raises(DataError, match="mkdir"):
        store.adopt_stock(_plan(toy_plan), NESTED)
    assert not (tmp_path / "made").exists()


def test_properties_that_lack_something_are_refused(
    stored: tuple[PreparedStore, PreparedCase], toy_plan: Plan
) -> None:
    store, _ = stored
    (store.records / "p.1 x.json").unlink()
    (store.folder / "p.1 x.pkl").write_bytes(pickle.dumps({"spacing": [1.0, 1.0, 1.0]}))
    with pytest.raises(DataError, match="shape_before_cropping"):
        store.adopt_stock(_plan(toy_plan), NESTED)


@given(
    shape=st.tuples(st.integers(1, 3), *[st.integers(1, 70)] * 3),
    patch=st.tuples(*[st.integers(1, 200)] * 3),
)
def test_arrays_of_any_shape_survive_any_patch_size(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, ...],
    patch: tuple[int, int, int],
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "a.b2nd"
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    write_array(path, array, patch)
    found = open_array(path)
    np.testing.assert_array_equal(found[:], array)
    assert np.prod(found.blocks) * array.itemsize <= 128 * 1024
    assert found.chunks[0] == 1
