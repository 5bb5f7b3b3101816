"""Reporting checklists drafted from the record: what a run can say, and what needs a person.

The lists are data, in `reporting/checklists/*.yaml`.
"""

from dataclasses import dataclass
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict, Field

from segduet.core.description import validated
from segduet.reporting.documents.evidence import Evidence
from segduet.reporting.documents.facts import FACTS
from segduet.reporting.documents.markdown import render
from segduet.reporting.wording import NOT_MEASURED


class ChecklistItem(BaseModel):
    """One item of a checklist.

    Attributes:
        id: its number in the published list.
        section: heading it stands under.
        topic: what it is about.
        ask: what is to be reported, in our own words.
        filled_by: names of facts that answer it; none where only a person can.
        person: what a person must add where the record answers a part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    section: str
    topic: str
    ask: str
    filled_by: tuple[str, ...]
    person: str = ""


class Checklist(BaseModel):
    """A published checklist: its items, where it comes from, and what to know about our wording."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    source: str
    note: str
    items: tuple[ChecklistItem, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the record says to one item.

    Attributes:
        told: sentences from the record.
        absent: artefacts that would say more, each once.
        person: what is left to a person; empty where nothing is.
    """

    item: ChecklistItem
    told: tuple[str, ...]
    absent: tuple[str, ...]
    person: str


def read_checklist(name: str) -> Checklist:
    """The checklist of a file in `reporting/checklists`, by its name without ending.

    Raises:
        DataError: an entry is missing, unknown or of the wrong kind.
    """
    source = resources.files("segduet.reporting") / "checklists" / f"{name}.yaml"
    content = yaml.safe_load(source.read_text(encoding="utf-8"))
    return validated(Checklist, content, where=f"{name}.yaml")


def answer(item: ChecklistItem, evidence: Evidence) -> Answer:
    """What the record says to an item."""
    told = {name: FACTS[name].tell(evidence) for name in item.filled_by}
    return Answer(
        item=item,
        told=tuple(text for text in told.values() if text),
        absent=tuple(dict.fromkeys(FACTS[name].source for name, text in told.items() if not text)),
        person=item.person or ("" if item.filled_by else item.ask),
    )


def checklist_document(name: str, evidence: Evidence) -> str:
    """A checklist as Markdown, every item with what fills it.

    Args:
        name: file in `reporting/checklists`, without ending.
        evidence: what there is to fill it from.
    """
    checklist = read_checklist(name)
    answers = [answer(item, evidence) for item in checklist.items]
    return render(
        "checklist.md.j2",
        checklist=checklist,
        dataset=evidence.dataset,
        date=evidence.date,
        sections=_by_section(answers),
        not_measured=NOT_MEASURED,
        counts={
            "total": len(answers),
            "filled": sum(bool(a.told) and not a.person and not a.absent for a in answers),
            "partly": sum(bool(a.told) and bool(a.person or a.absent) for a in answers),
            "open": sum(not a.told for a in answers),
        },
    )


def _by_section(answers: list[Answer]) -> list[tuple[str, list[Answer]]]:
    sections: dict[str, list[Answer]] = {}
    for one in answers:
        sections.setdefault(one.item.section, []).append(one)
    return list(sections.items())
