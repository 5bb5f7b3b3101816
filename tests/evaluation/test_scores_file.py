import pytest

from segduet.core.errors import DataError
from segduet.core.scores import CaseScores, ClassAnswer, Score
from segduet.core.tasks import TaskSpec
from segduet.evaluation.scores_file import read_scores, write_scores

TASK = TaskSpec(name="kind", classes=("a", "b, or c"))
CASES = [
    CaseScores(
        case="c1",
        patient="p1",
        segmentation={
            "organ": {"dsc": Score(value=1 / 3), "volume_difference_ml": Score(value=-0.1)},
            "left/right": {"dsc": Score(value=None, reason="both masks are empty")},
        },
        volumes_ml={"organ": (1.5, 1.4), "left/right": (0.0, 0.0)},
        answers={
            "kind": ClassAnswer(reference=None, predicted="b, or c", probabilities=(0.1, 0.9))
        },
    ),
    CaseScores(case="c2", patient="p1"),
]


def test_round_trip_keeps_every_value_and_reason(tmp_path):
    """F81, F56: full precision, and undefined stays undefined with its reason."""
    write_scores(tmp_path / "scores.csv", CASES, [TASK])
    assert read_scores(tmp_path / "scores.csv", [TASK]) == CASES


def test_columns_are_readable(tmp_path):
    write_scores(tmp_path / "scores.csv", CASES[:1], [TASK])
    header = (tmp_path / "scores.csv").read_text().splitlines()[0]
    assert header.startswith("case,patient,organ/dsc,organ/volume_difference_ml,left/right/dsc,")
    assert header.endswith('kind/reference,kind/predicted,kind/p/a,"kind/p/b, or c",undefined')


@pytest.mark.parametrize(("old", "new"), [("kind/p/a", "kind/q"), ("1.5", "much"), ("-0.1", "nan")])
def test_edited_files_are_refused(tmp_path, old, new):
    source = tmp_path / "scores.csv"
    write_scores(source, CASES, [TASK])
    source.write_text(source.read_text().replace(old, new))
    with pytest.raises(DataError, match=r"scores\.csv"):
        read_scores(source, [TASK])


def test_every_kind_survives_the_file(tmp_path):
    """B02: the kind and unit come back from the task, a regression has no probabilities."""
    tasks = (
        TaskSpec(name="findings", kind="multilabel", classes=("cyst", "mass")),
        TaskSpec(name="size", kind="regression", unit="mm"),
    )
    answers = {
        "findings": ClassAnswer(
            reference="none", predicted="cyst", probabilities=(0.7, 0.1), kind="multilabel"
        ),
        "size": ClassAnswer(
            reference="12.5",
            predicted=repr(1 / 3),
            probabilities=(1 / 3,),
            kind="regression",
            unit="mm",
        ),
    }
    cases = [CaseScores(case="c", patient="p", answers=answers), CaseScores(case="d", patient="p")]
    write_scores(tmp_path / "scores.csv", cases, tasks)
    assert read_scores(tmp_path / "scores.csv", tasks) == cases
    assert (tmp_path / "scores.csv").read_text().splitlines()[0] == (
        "case,patient,findings/reference,findings/predicted,findings/p/cyst,findings/p/mass,"
        "size/reference,size/predicted,undefined"
    )
