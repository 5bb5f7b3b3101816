"""B01: a folder with images, masks and a table."""

import pytest

from segduet.core.errors import DataError, RequestError
from segduet.dataset.importers.options import ImportOptions, RegionMode
from segduet.dataset.importers.registry import IMPORTERS


def load(root, **options):
    return IMPORTERS["table"](root, ImportOptions(**options))


def facts(source):
    """Case -> (patient, split, labels)."""
    records = (case.record for case in source.cases)
    return {r.case: (r.patient, r.split, dict(r.labels)) for r in records}


def test_table_takes_patients_classes_and_mask_values(pictures):
    """B01: an empty class is unknown; further columns are ignored."""
    source = load(pictures)
    assert facts(source) == {
        "a1": ("p1", "", {"class": "benign"}),
        "a2": ("p1", "", {"class": "benign"}),
        "b1": ("p2", "", {"class": "malignant"}),
        "c1": ("p3", "", {}),
    }
    assert source.tasks[0].classes == ("benign", "malignant")
    assert source.value_map == {0: 0, 255: 1}
    assert source.labels == {"background": 0, "label_1": 1}
    assert source.channel_names == ("image",)


def test_table_options_name_classes_labels_and_columns(pictures, files):
    rows = [(c, k, "train") for c, k in zip(("a1", "a2", "b1", "c1"), "1120", strict=True)]
    table = files.table(pictures.parent / "grades.csv", ["case", "grade", "split"], *rows)
    source = load(
        pictures,
        labels_table=table,
        class_column="grade",
        classes=("2", "1", "0"),
        label_names=("lesion",),
        label_values=(255,),
        channel_names=("us",),
        workers=2,
    )
    assert source.tasks[0].name == "grade"
    assert source.tasks[0].classes == ("2", "1", "0")
    assert source.labels == {"background": 0, "lesion": 1}
    assert source.channel_names == ("us",)
    assert facts(source)["b1"] == ("b1", "train", {"grade": "2"})


def volumes(files, root, values=(0, 1, 2, 3)):
    for seed, case in enumerate(("a", "b")):
        files.image(root / "images" / f"{case}.nii.gz", seed=seed)
        files.mask(root / "masks" / f"{case}.nii.gz", values)
    files.table(root / "cases.csv", ["case", "class"], ("a", "x"), ("b", "y"))
    return root


def test_table_nested_regions_hold_all_inner_labels(files, tmp_path):
    names = ("heart", "wall", "scar")
    root = volumes(files, tmp_path / "u")
    source = load(root, region_mode=RegionMode.NESTED, label_names=names)
    assert source.labels == {"background": 0, "heart": [1, 2, 3], "wall": [2, 3], "scar": 3}
    assert source.regions_class_order == (1, 2, 3)
    plain = load(root, label_names=names)
    assert plain.labels == {"background": 0, "heart": 1, "wall": 2, "scar": 3}


def test_table_finds_the_channels_of_a_case(files, tmp_path):
    root = volumes(files, tmp_path / "u")
    for case in "ab":
        (root / "images" / f"{case}.nii.gz").rename(root / "images" / f"{case}_0000.nii.gz")
        files.image(root / "images" / f"{case}_0001.nii.gz")
    source = load(root)
    assert [p.name for p in source.cases[1].images] == ["b_0000.nii.gz", "b_0001.nii.gz"]
    assert source.channel_names == ("image_0", "image_1")


@pytest.mark.parametrize("values", [(0, 1, 3), (0, 128, 255), (1, 2), (0, 0)])
def test_masks_whose_labels_are_not_plain_need_a_word_from_the_user(files, tmp_path, values):
    root = volumes(files, tmp_path / "u", values)
    with pytest.raises(
        DataError, match=r"labels 1, 2, \.\.\. without a gap, or one foreground value"
    ):
        load(root)
    if values == (0, 128, 255):
        assert load(root, label_values=(128, 255)).value_map == {0: 0, 128: 1, 255: 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: (r / "images/b1.png").unlink(), "case 'b1': found a row without an image"),
        (
            lambda r: (r / "images/b1.png").rename(r / "images/b2.png"),
            "case 'b1': found a row without an image",
        ),
        (lambda r: (r / "cases.csv").unlink(), r"cases\.csv: found no such file"),
        (lambda r: (r / "cases.csv").write_text("case,kind\na1,x\n"), r"without \['class'\]"),
        (
            lambda r: (r / "cases.csv").write_text("case,class\na1,x\na1,y\n"),
            r"line 3: found case 'a1' a second time",
        ),
        (lambda r: (r / "cases.csv").write_text("case,class\n,x\na1,y\n"), "an empty case id"),
        (
            lambda r: (r / "cases.csv").write_text("case,class\na1,x\na2,x\n"),
            r"found the classes \['x'\]; expected two different classes or more",
        ),
        (
            lambda r: (r / "cases.csv").write_text("case,class,split\na1,x,dev\na2,y,\n"),
            "line 2: found split 'dev'",
        ),
        (
            lambda r: (r / "cases.csv").write_text("case,class\na1,x\na2,y\nb1,y\n"),
            r"1 image\(s\) without a row",
        ),
        (
            lambda r: (r / "masks/a1.png").rename(r / "masks/z9.png"),
            r"z9\.png: found 1 mask\(s\) without a row",
        ),
        (
            lambda r: (r / "cases.csv").write_text(
                "case,class,patient,split\na1,x,p,train\na2,y,p,val\nb1,x,,\nc1,y,,\n"
            ),
            "patient 'p' in split 'train'",
        ),
        (lambda r: (r / "images/a1.jpg").write_bytes(b"x"), r"the ending '\.jpg'"),
    ],
)
def test_table_that_does_not_fit_is_refused(pictures, change, message):
    change(pictures)
    with pytest.raises(DataError, match=message):
        load(pictures)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_names": ("a", "b")}, "2 names"),
        ({"label_values": (0, 255)}, "0 is always background"),
        ({"label_values": (255, 255)}, "distinct foreground values"),
        ({"class_column": "patient"}, "a column other than"),
        ({"channel_names": ("a", "a")}, "names that differ"),
    ],
)
def test_contradicting_options_are_refused(pictures, options, message):
    with pytest.raises(RequestError, match=message):
        load(pictures, **options)


def test_class_that_is_not_declared_is_refused(pictures):
    with pytest.raises(DataError, match="case 'b1': found class 'malignant'"):
        load(pictures, classes=("benign", "normal"))
