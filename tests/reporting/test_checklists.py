"""F91, B21: the checklists are whole, and each item says what fills it."""

import re
from pathlib import Path

import pytest

from segduet.reporting.documents import checklists
from segduet.reporting.documents.checklists import ChecklistItem, answer, checklist_document
from segduet.reporting.documents.evidence import Cohort, Evidence
from segduet.reporting.documents.facts import FACTS, told

NAMES = ("claim_2024", "tripod_ai", "miccai")
RUN = {"dataset": "Dataset501_tiny", "fold": "0", "seed": 1, "recipe": {}, "epochs_done": 2}


@pytest.mark.parametrize(
    ("name", "numbers", "num_items"),
    [("claim_2024", 44, 44), ("tripod_ai", 27, 52), ("miccai", 32, 32)],
)
def test_every_item_is_there_once(name: str, numbers: int, num_items: int) -> None:
    """CLAIM 2024 has 44 items, TRIPOD+AI 27 in 52 parts."""
    ids = [item.id for item in checklists.read_checklist(name).items]
    assert len(ids) == len(set(ids)) == num_items
    if name != "miccai":
        found = [int(re.match(r"\d+", i).group()) for i in ids]
        assert found == sorted(found)
        assert set(found) == set(range(1, numbers + 1))


def test_every_fact_asked_for_exists_and_every_fact_is_used() -> None:
    asked = {n for c in NAMES for i in checklists.read_checklist(c).items for n in i.filled_by}
    assert asked <= FACTS.keys()
    folder = Path(checklists.__file__).parents[1] / "templates" / "documents"
    templates = "".join(path.read_text() for path in folder.glob("*.j2"))
    catalogue = (Path(checklists.__file__).parent / "catalogue.py").read_text()
    used = asked | set(re.findall(r'told\((?:e, )?"(\w+)"\)', templates + catalogue))
    assert set(FACTS) == used


@pytest.mark.parametrize("name", NAMES)
def test_every_item_is_filled_or_needs_somebody(name: str) -> None:
    text = checklist_document(name, Evidence(run=RUN))
    blocks = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(checklists.read_checklist(name).items)
    for block in blocks:
        assert re.search(r"^- (filled from run|needs a person|not measured): ", block, re.M), block


def test_an_item_takes_its_sentence_from_the_record() -> None:
    """Filled where the artefact is there; named where it is not."""
    item = ChecklistItem(
        id="1", section="s", topic="t", ask="Ask", filled_by=("disjointness", "sites")
    )
    run = {**RUN, "train_cases": ["a", "b"], "validation_cases": ["b"]}
    alone = answer(item, Evidence(run=run))
    shared = "Training and validation share 1 cases; shared patients: not measured"
    assert alone.told == (f"{shared} (no cases.csv found).",)
    assert alone.absent == ("cases.csv",)
    assert alone.person == ""
    cohort = Cohort(train_patients=2, validation_patients=1, shared_patients=1, sites=7)
    both = answer(item, Evidence(run=run, cohort=cohort))
    assert both.told[1] == "The case table names 7 site(s)."
    assert both.absent == ()
    person = ChecklistItem(id="2", section="s", topic="t", ask="Who", filled_by=())
    assert answer(person, Evidence(run=run)).person == "Who"


def test_a_fact_without_its_artefact_is_not_measured() -> None:
    assert told(Evidence(run=RUN), "performance") == (
        "not measured (nothing in summary.json of an evaluation)"
    )


def test_the_counts_add_up() -> None:
    text = checklist_document("claim_2024", Evidence(run=RUN))
    total, filled, partly, left = map(
        int, re.search(r"Of (\d+) items (\d+) are .*?, (\d+) in part, (\d+) need", text).groups()
    )
    assert total == filled + partly + left == 44


def test_subgroups_are_told_with_their_test() -> None:
    """TRIPOD+AI 23a: the gap with its p and the sizes of the groups; or why there is none."""
    groups = {"A": {"n_cases": 11}, "B": {"n_cases": 13}}
    gaps = {
        "segmentation/organ/dsc": {"value": 0.123, "highest": "A", "lowest": "B", "p": 0.04},
        "classification/kind/macro_f1": {"value": None, "reason": "one group"},
    }
    summary = {"subgroups": {"site": {"groups": groups, "gaps": gaps, "n_unknown": 2}}}
    assert told(Evidence(run=RUN, summary=summary), "subgroups") == (
        "By site (A n = 11, B n = 13; unknown: 2); segmentation/organ/dsc: A above B by 0.123 "
        "(permutation test p = 0.04, no interval); classification/kind/macro_f1: no gap, one group."
    )
