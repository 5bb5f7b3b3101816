from pathlib import Path

import pytest

from segduet.core.errors import RequestError
from segduet.core.folders import DataRoot

VARIABLES = {"nnUNet_raw": "/r", "nnUNet_preprocessed": "/p", "nnUNet_results": "/s"}


def test_an_explicit_root_wins_over_variables_and_variables_over_the_default() -> None:
    explicit = DataRoot.resolve(Path("/d"), VARIABLES)
    assert explicit.raw == Path("/d/nnUNet_raw")
    assert explicit.results == Path("/d/nnUNet_results")
    from_variables = DataRoot.resolve(None, VARIABLES)
    assert (from_variables.raw, from_variables.results) == (Path("/r"), Path("/s"))
    default = DataRoot.resolve(None, {"nnUNet_raw": ""})
    assert default.preprocessed == Path("segduet-data/nnUNet_preprocessed")
    assert default.raw == Path("segduet-data/nnUNet_raw")


def test_one_variable_alone_moves_only_its_folder() -> None:
    mixed = DataRoot.resolve(None, {"nnUNet_raw": "/r"})
    assert (mixed.raw, mixed.results) == (Path("/r"), Path("segduet-data/nnUNet_results"))


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    root = DataRoot.resolve(tmp_path, {})
    for name in ("Dataset501_pancreas", "Dataset502_heart", "Dataset007_heart", "notes"):
        (root.raw / name).mkdir(parents=True)
    (root.preprocessed / "Dataset501_pancreas").mkdir(parents=True)
    return root


@pytest.mark.parametrize("reference", ["Dataset501_pancreas", "501", "pancreas"])
def test_a_dataset_is_found_by_full_name_number_or_short_name(
    root: DataRoot, reference: str
) -> None:
    assert root.dataset(reference).name == "Dataset501_pancreas"


@pytest.mark.parametrize("reference", ["7", "007"])
def test_leading_zeros_of_a_number_do_not_matter(root: DataRoot, reference: str) -> None:
    assert root.dataset(reference).name == "Dataset007_heart"


@pytest.mark.parametrize(
    ("reference", "found"),
    [("lung", "0 matching"), ("heart", "2 matching .*Dataset007_heart"), ("notes", "0 matching")],
)
def test_no_dataset_or_several_is_an_error_that_lists_them(
    root: DataRoot, reference: str, found: str
) -> None:
    with pytest.raises(RequestError, match=f"^dataset '{reference}': found {found}"):
        root.dataset(reference)


def test_numbers_start_at_501(tmp_path: Path) -> None:
    assert DataRoot.resolve(tmp_path, {}).name_new_dataset("liver") == "Dataset501_liver"


def test_a_new_dataset_takes_the_first_free_number_and_a_full_name_is_kept(root: DataRoot) -> None:
    (root.results / "Dataset503_old").mkdir(parents=True)
    assert root.name_new_dataset("liver") == "Dataset504_liver"
    assert root.name_new_dataset("Dataset900_liver") == "Dataset900_liver"


@pytest.mark.parametrize("name", ["pancreas", "Dataset1_x", "Dataset501_a/b", "Dataset501_"])
def test_a_name_that_nnunet_does_not_accept_is_refused(root: DataRoot, name: str) -> None:
    with pytest.raises(RequestError, match="a name that nnU-Net does not accept"):
        root.new_dataset(name)


def test_the_layout_is_that_of_nnunet(root: DataRoot, tmp_path: Path) -> None:
    """B11: a run folder that stock nnU-Net finds."""
    folders = root.dataset("501")
    raw = tmp_path / "nnUNet_raw" / "Dataset501_pancreas"
    assert (folders.images, folders.masks) == (raw / "imagesTr", raw / "labelsTr")
    assert folders.test_images == raw / "imagesTs"
    prepared = tmp_path / "nnUNet_preprocessed" / "Dataset501_pancreas"
    assert folders.plan_file("nnUNetPlans") == prepared / "nnUNetPlans.json"
    assert folders.splits_file == prepared / "splits_final.json"
    assert folders.run("T", "P", "2d", "0") == (
        tmp_path / "nnUNet_results" / "Dataset501_pancreas" / "T__P__2d" / "fold_0"
    )
