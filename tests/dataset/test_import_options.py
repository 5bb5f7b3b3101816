"""What a user may tell an importer (F03)."""

import pytest

from segduet.core.errors import RequestError
from segduet.core.labels import LabelScheme
from segduet.dataset.importers.labels import label_entries
from segduet.dataset.importers.options import ImportOptions, RegionMode
from segduet.dataset.importers.registry import IMPORTERS


def load(layout, root, **options):
    return IMPORTERS[layout](root, ImportOptions(**options))


@pytest.mark.parametrize(
    ("layout", "option"),
    [
        ("quiz", {"class_column": "grade"}),
        ("quiz", {"label_values": (1, 2)}),
        ("msd", {"label_names": ("a",)}),
        ("nnunet", {"channel_names": ("CT",)}),
        ("nerve", {"region_mode": RegionMode.PLAIN}),
    ],
)
def test_option_that_would_do_nothing_is_refused(tmp_path, layout, option):
    with pytest.raises(RequestError, match=f"import {layout}, option {next(iter(option))}"):
        load(layout, tmp_path, **option)


@pytest.mark.parametrize("layout", ["msd", "nnunet"])
def test_layout_without_classes_needs_a_table(tmp_path, layout):
    with pytest.raises(RequestError, match="found no table of classes"):
        load(layout, tmp_path)


def test_label_scheme_of_every_entry_form_is_valid():
    """F03: plain and nested entries are what nnU-Net's dataset.json may hold."""
    for mode in RegionMode:
        for names in (("a",), ("a", "b"), ("a", "b", "c")):
            labels, order = label_entries(names, mode)
            scheme = LabelScheme.from_dataset_json(labels, list(order) or None, where="test")
            assert scheme.has_regions == (mode is RegionMode.NESTED and len(names) > 1)
            assert scheme.values == tuple(range(len(names) + 1))
