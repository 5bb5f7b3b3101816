from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores, ClassAnswer, Score
from segduet.reporting.case_table import case_table

LABELS = LabelScheme(labels=(("background", (0,)), ("organ", (1,))))


def answer(predicted: str) -> ClassAnswer:
    return ClassAnswer(reference="a", predicted=predicted, probabilities=(0.25, 0.75))


def size(reference: str | None, value: float) -> ClassAnswer:
    return ClassAnswer(
        reference=reference, predicted=str(value), probabilities=(value,), kind="regression"
    )


def test_cells_have_a_text_and_a_value_to_sort_by():
    case = CaseScores(
        case="c",
        patient="p",
        segmentation={"organ": {"dsc": Score(value=0.8125)}},
        volumes_ml={"organ": (2.0, 3.5)},
        answers={"kind": answer("b"), "size": size("10", 7.5)},
    )
    table = case_table([case], LABELS)
    mean, organ, kind, length = table.rows[0].cells
    assert table.columns[1:3] == ["mean DSC", "DSC organ"]
    assert (mean.text, mean.value) == ("0.812", "0.8125")
    assert (organ.text, organ.note) == ("0.812", "2.00 → 3.50 ml")
    assert kind.is_wrong
    assert (length.value, length.is_wrong) == ("2.5", False)  # the size of its error
    assert table.rows[0].verdict == "wrong"


def test_what_was_not_measured_has_no_value_and_no_verdict():
    """B19: an undefined score says why; sorted last either way."""
    reason = "no region is present in reference or prediction"
    undefined = CaseScores(
        case="u", patient="u", segmentation={"organ": {"dsc": Score(value=None, reason="both")}}
    )
    unknown = CaseScores(case="v", patient="v", answers={"size": size(None, 3.0)})
    rows = case_table([undefined, unknown], LABELS).rows
    assert [(c.text, c.value) for c in rows[0].cells] == [
        (reason, ""),
        ("both", ""),
        ("not measured", ""),
    ]
    assert [(c.text, c.value) for c in rows[1].cells[1:]] == [
        ("not measured", ""),
        ("unknown → 3", ""),
    ]
    assert not case_table([undefined, unknown], LABELS).has_verdicts


def test_an_evaluation_of_classes_alone_has_no_columns_of_masks():
    cases = [
        CaseScores(case=name, patient=name, answers={"kind": answer(said)})
        for name, said in [("right", "a"), ("wrong", "b")]
    ]
    table = case_table(cases, LABELS)
    assert table.columns == ["case", "kind: true → answer (p)"]
    assert [row.verdict for row in table.rows] == ["wrong", "right"]
