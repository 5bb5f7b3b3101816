import pytest

from segduet.core.errors import RequestError
from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores, ClassAnswer, Score
from segduet.reporting.case_order import CaseChoice, worst_first

LABELS = LabelScheme(labels=(("background", (0,)), ("organ", (1,))))


def case(name: str, dsc: float | None = None, sure: float = 0.0) -> CaseScores:
    """A case whose answer is wrong, and how sure it was; right where `sure` is 0."""
    scores = {} if dsc is None else {"organ": {"dsc": Score(value=dsc)}}
    answer = ClassAnswer(
        reference="a", predicted="b" if sure else "a", probabilities=(1 - sure, sure)
    )
    return CaseScores(case=name, patient=name, segmentation=scores, answers={"kind": answer})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("all", "abc"), ("none", ""), ("worst:2", "ab"), ("worst:9", "abc"), ("worst:0", "")],
)
def test_choices(text, expected):
    assert CaseChoice.parse(text, where="--viewer").of(list("abc")) == set(expected)


@pytest.mark.parametrize("text", ["", "best:3", "worst:", "worst:-1", "worst:1.5", "worst:٣", "7"])
def test_other_choices_are_refused(text):
    with pytest.raises(RequestError, match=r"--viewer.*all, none or worst:N"):
        CaseChoice.parse(text, where="--viewer")


def test_lowest_dsc_first_then_surest_wrong_answers():
    """B18: a case without masks is judged by its answers."""
    cases = [case("r"), case("w", sure=0.9), case("u", sure=0.6), case("g", 0.9), case("b", 0.2)]
    assert "".join(c.case for c in worst_first(cases, LABELS)) == "bgwur"
