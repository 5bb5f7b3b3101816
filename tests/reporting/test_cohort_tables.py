from segduet.reporting.cohort_tables import (
    advice_rows,
    answer_split_rows,
    figure_label,
    subgroup_tables,
)


def figure(value: float | None, **more) -> dict:
    return {"value": value, "ci95": None, "n": 6, "reason": "too small", **more}


def test_groups_stand_beside_each_other_with_the_largest_gap():
    """B19: every group has its size, every gap its p, and a gap that is not stated its reason."""
    path, other = "segmentation/a/b/dsc", "classification/kind/macro_f1"
    groups = {
        name: {"n_cases": 6, "n_patients": 5, "figures": {path: figure(v), other: figure(None)}}
        for name, v in (("siteA", 0.75), ("siteB", 0.5))
    }
    gaps = {
        path: {"value": 0.25, "highest": "siteA", "lowest": "siteB", "p": 0.0004},
        other: {"value": None, "reason": "needs two groups"},
    }
    division = {"n_unknown": 2, "groups": groups, "gaps": gaps}
    (table,) = subgroup_tables({"subgroups": {"site": division}})
    assert (table["by"], table["unknown"]) == ("site", 2)
    assert table["groups"][1] == {"name": "siteB", "cases": 6, "patients": 5}
    masks, answers = table["rows"]
    assert masks["figure"] == "DSC a/b"
    assert [cell["value"] for cell in masks["cells"]] == ["0.750", "0.500"]
    assert masks["gap"] == "0.250, siteA above siteB, p < 0.001"
    assert answers["gap"] == "not measured: needs two groups"
    assert answers["cells"][0]["value"] == "not measured"


def test_right_and_wrong_answers_have_a_signed_difference():
    """F95: the mask of rightly and of wrongly answered cases."""
    split = {"right": figure(0.9), "wrong": figure(0.95), "difference": figure(-0.05)}
    (row,) = answer_split_rows({"dsc_by_answer": {"kind": {"mean_foreground": split}}})
    assert row["region"] == "mean foreground"
    assert [row[k]["value"] for k in ("right", "wrong", "difference")] == [
        "0.900",
        "0.950",
        "-0.050",
    ]


def test_advice_names_what_to_do_with_which_metrics():
    piece = {"subject": "lesion", "verdict": "careful", "why": "it is tiny", "source": "paper"}
    rows = advice_rows([{**piece, "metrics": ["dsc", "auroc"]}, {**piece, "metrics": []}])
    assert [row["verdict"] for row in rows] == [
        "be careful with DSC, AUROC",
        "be careful with every figure",
    ]
    assert rows[0]["why"] == "it is tiny"


def test_labels_are_those_of_the_cards():
    assert figure_label("segmentation/mean_foreground/dsc") == "DSC mean foreground"
    assert figure_label("classification/kind/macro_f1") == "macro-F1 kind"


def test_a_summary_without_them_has_no_tables():
    assert subgroup_tables({}) == answer_split_rows({}) == []
