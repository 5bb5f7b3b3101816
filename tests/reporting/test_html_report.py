import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from segduet.core.cases import CaseRecord
from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores, ClassAnswer, Score
from segduet.core.tasks import TaskSpec
from segduet.evaluation.baselines import Baseline
from segduet.evaluation.cohort import summarize
from segduet.evaluation.scoring import class_answer
from segduet.evaluation.targets import Target
from segduet.reporting.case_pictures import CasePictures, Strip
from segduet.reporting.html_report import ReportInputs, render_report

HOSTILE = "<script>alert('x')</script>"
EVIL_CLASS = '"><img src=x onerror=alert(1)>'
LABELS = LabelScheme(labels=(("background", (0,)), ("organ", (1,)), ("_<b>$\\x$", (2,))))
TASK = TaskSpec(name="kind", classes=("benign", EVIL_CLASS))


def scored(case: str, organ: float, probability: float) -> CaseScores:
    def region(dsc: float) -> dict[str, Score]:
        score = Score(value=dsc)
        return {"dsc": score, "iou": score, "volume_difference_ml": Score(value=dsc)}

    return CaseScores(
        case=case,
        patient=case,
        segmentation={"organ": region(organ), LABELS.labels[2][0]: region(organ / 2)},
        volumes_ml={"organ": (12.5, 13.0), LABELS.labels[2][0]: (1.0, 0.0)},
        answers={
            "kind": ClassAnswer(
                reference="benign",
                predicted=TASK.classes[int(probability < 0.5)],
                probabilities=(probability, 1 - probability),
            )
        },
    )


CASES = [scored("good", 0.97, 0.9), scored(HOSTILE, 0.31, 0.2), scored("middling", 0.62, 0.6)]
HISTORY = [
    {
        "epoch": e,
        "train": {"loss": 1.0 / (e + 1)},
        "validation": {"patch_dice": 0.1 * e},
        "learning_rate": 0.01,
        "seconds": 2.0,
    }
    for e in range(4)
]


class Page(HTMLParser):
    """Collects tags, attributes and visible text, and notes unbalanced elements."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def inputs(**changes) -> ReportInputs:
    baseline = Baseline(
        name="majority_class",
        description="The most frequent class.",
        task="kind",
        probabilities={c.case: np.array([0.8, 0.2]) for c in CASES},
    )
    targets = [
        Target(name="Organ", metric="segmentation/organ/dsc", threshold=0.9),
        Target(name="Kind AUROC", metric="classification/kind/auroc", threshold=0.7),
    ]
    summary = summarize(
        CASES, LABELS, [TASK], seed=0, selected_from=10, baselines=[baseline], targets=targets
    )
    pixel = "data:image/png;base64,AAAA"
    picture = CasePictures(
        case=HOSTILE,
        strip=Strip(address=pixel, width=40, height=10, panels=("image",)),
        close_up=pixel,
        caption="Worst",
        left_out=f"not in the viewer, {HOSTILE}",
    )
    content = {
        "title": f"Run {HOSTILE}",
        "labels": LABELS,
        "facts": {"Dataset": "made up"},
        "summary": summary.to_json(),
        "cases": CASES,
        "metrics_history": HISTORY,
        "record": {
            "training": {
                "config": {"epochs": 4, "name": HOSTILE},
                "seed": 7,
                "gpu": None,
                "train_cases": ["a"] * 9,
            }
        },
        "pictures": [picture],
    }
    return ReportInputs(**{**content, **changes})


@pytest.fixture(scope="module")
def html() -> str:
    return render_report(inputs())


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def test_hostile_names_stay_text(html, page):
    """C3.15: case, class, region, title and record values cannot add an element or attribute."""
    assert html.count("<script") == 1  # our own
    assert HOSTILE in page.text
    assert EVIL_CLASS in page.text
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
    images = [a for tag, a in page.tags if tag == "img"]
    assert len(images) == 2
    assert all(image["src"].startswith("data:image/png") for image in images)
    assert all(HOSTILE in image["alt"] for image in images)


def test_page_needs_no_network(html, page):
    """B18: one file; its own policy allows its one script by its hash, and no request."""
    policy = next(
        a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{digest}'; img-src data:; "
        "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    namespaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\s\"'<)]+", html)) <= namespaces
    assert "url(http" not in html
    assert {"link", "iframe", "object"}.isdisjoint(tag for tag, _ in page.tags)


def test_elements_are_balanced(page):
    assert page.open == []


def test_numbers_are_those_of_the_artefacts(page):
    """F88, B19: mean 0.633 over 3 cases with n, target rows, gap in metric units, baseline."""
    assert "DSC organ 0.633 95 % CI" in page.text
    assert "n = 3" in page.text
    assert "Organ ≥ 0.9 0.633" in page.text
    assert "-0.267 FAIL" in page.text
    assert "Kind AUROC ≥ 0.7 not measured NOT MEASURED classes" in page.text
    assert "kind: figures with their 95 % intervals metric model majority class" in page.text
    assert "majority class: The most frequent class." in page.text
    assert "config.epochs 4" in page.text
    assert "gpu not measured" in page.text
    assert "train_cases 9 entries" in page.text


def test_selection_is_named():
    """F83: the best of ten on the reporting cases is an optimistic number."""
    answer = replace(CASES[0].answers["kind"], reference=EVIL_CLASS)
    cases = [*CASES, replace(CASES[0], case="other", patient="other", answers={"kind": answer})]
    summary = summarize(cases, LABELS, [TASK], seed=0, selected_from=10)
    page = Page(render_report(inputs(summary=summary.to_json(), cases=cases)))
    assert "macro-F1 kind: picking the best of 10" in page.text


def test_cases_are_listed_worst_first_with_wrong_answers_marked(page):
    table = page.text.split("Cases, worst first")[1].split("mean DSC")[1].split("training:")[0]
    order = sorted(("good", HOSTILE, "middling"), key=table.rindex)
    assert order == [HOSTILE, "middling", "good"]
    assert f"✗ benign → {EVIL_CLASS} (0.80)" in table
    assert "benign → benign (0.90)" in table


def test_confusion_matrix_names_classes_in_order(page):
    """F88, seeds.md 1.2 S4: rows are true classes, in the task's own order."""
    assert f"true \\ answer benign {EVIL_CLASS} cases benign 2 1 3 {EVIL_CLASS} 0 0 0" in page.text


def test_charts_say_what_they_show(page):
    """F88: patch figures are named so; each chart has a text alternative."""
    labels = [a["aria-label"] for tag, a in page.tags if tag == "svg"]
    assert any(label.startswith("Losses over epochs: train/loss") for label in labels)
    assert any("validation/patch_dice" in label and "not DSC" in label for label in labels)
    assert any("Learning rate" in label for label in labels)
    assert any("Time per epoch" in label for label in labels)
    assert any("Spread of DSC per case" in label for label in labels)
    assert any("DSC against reference volume" in label for label in labels)


def test_missing_artefacts_print_not_measured():
    """F90, F56: nothing is invented, nothing crashes."""
    empty = Page(render_report(ReportInputs(title="Nothing", labels=LABELS)))
    for heading in (
        "Summary",
        "Targets",
        "Segmentation",
        "Classification",
        "Training",
        "Cases, worst first",
        "Run record",
    ):
        assert empty.text.rsplit(heading, 1)[1].startswith(" not measured"), heading
    assert not any(tag == "svg" for tag, _ in empty.tags)


def test_same_artefacts_give_the_same_page(html):
    assert render_report(inputs()) == html


def test_page_follows_light_dark_and_print(html):
    """B18: charts take the text colour of the page."""
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    assert "#010203" not in html
    assert html.count("currentColor") > 20


KINDS = (
    TaskSpec(name="findings", kind="multilabel", classes=("cyst", "mass")),
    TaskSpec(name="grade", kind="ordinal", classes=("low", "mid", "high")),
    TaskSpec(name="size", kind="regression", unit="mm"),
)


@pytest.fixture(scope="module")
def page_of_kinds() -> Page:
    """Two cases with an answer to a question of each other kind."""
    rows = {
        "right": ({"findings": "mass|cyst", "grade": "mid", "size": "20"}, [0.9, 0.8], [20.5]),
        "off": ({"findings": "none", "grade": "high", "size": "10"}, [0.7, 0.1], [8.25]),
    }
    cases = []
    for case, (labels, chances, size) in rows.items():
        record = CaseRecord(case=case, patient=case, labels=labels)
        answers = {"findings": chances, "grade": [0.1, 0.8, 0.1], "size": size}
        answered = {t.name: class_answer(record, t, np.array(answers[t.name])) for t in KINDS}
        cases.append(CaseScores(case=case, patient=case, answers=answered))
    summary = summarize(cases, LABELS, KINDS, seed=0, selected_from=1).to_json()
    return Page(
        render_report(ReportInputs(title="Kinds", labels=LABELS, summary=summary, cases=cases))
    )


def test_every_kind_is_worded_in_its_own_way(page_of_kinds):
    """B02: a number has a unit and a difference and is never marked as wrong."""
    text = page_of_kinds.text
    assert "findings: true → answer grade: true → answer size: true → answer" in text
    assert "✗ none → cyst" in text
    assert "mass, cyst → cyst, mass" in text
    assert "✗ mass, cyst" not in text  # the order of findings has no meaning
    assert "✗ high → mid" in text
    assert "20 → 20.5 mm (+0.5)" in text
    assert "10 → 8.25 mm (-1.75)" in text


def test_every_kind_has_its_figures_and_only_classes_a_matrix(page_of_kinds):
    """MAE of .5 and 1.75 is 1.125 mm."""
    text = page_of_kinds.text
    assert "Mean absolute error size 1.125 mm" in text
    assert (
        "size: figures with their 95 % intervals metric model Mean absolute error 1.125 mm" in text
    )
    assert "macro-F1 findings" in text
    assert "AUROC of cyst" in text
    assert "Quadratic weighted kappa" in text
    assert "grade: cases by true class (rows) and answer (columns)" in text
    assert "findings: cases by true class" not in text
    charts = [attrs.get("aria-label", "") for tag, attrs in page_of_kinds.tags if tag == "svg"]
    assert "Predicted against true size of 2 cases" in charts
