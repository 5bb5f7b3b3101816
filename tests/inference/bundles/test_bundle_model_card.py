"""B21: the card says what the records say, and leaves the rest to a person."""

from dataclasses import replace
from pathlib import Path

import pytest

from segduet.core.description import DatasetDescription
from segduet.core.plan import Plan
from segduet.inference.bundles.manifest import BundleMember, BundleSource
from segduet.inference.bundles.model_card import (
    FROM_RECORD,
    NEEDS_PERSON,
    CardRecord,
    TrainingEvidence,
    model_card,
    plain,
)
from segduet.inference.bundles.writing import BundleExtras
from tiny_bundles import DESCRIPTION, PLAN, network, write_sound

RUN = {
    "epochs_done": 20,
    "seed": 3,
    "train_cases": ["c0", "c1", "c2"],
    "validation_cases": ["c3"],
    "recipe": {"name": "default", "epochs": 25, "optimizer": {"learning_rate": 0.001}},
}
SCORES = {
    "n_cases": 1,
    "selected_from": 4,
    "interval": "95 % bootstrap",
    "segmentation": {
        "lesion": {
            "dsc": {"mean": 0.71234, "ci95": [0.6, 0.8], "n": 1, "unit": ""},
            "hd95_mm": {"mean": None, "ci95": None, "n": 0, "unit": "mm", "reason": "no lesion"},
        }
    },
    "classification": {
        "subtype": {
            "macro_f1": {"value": 0.5, "ci95": None, "n": 1, "reason": "one case"},
            "confusion_matrix": {"counts": [[1]]},
        }
    },
}


@pytest.fixture
def record() -> CardRecord:
    return CardRecord(
        plan=Plan.model_validate(PLAN),
        description=DatasetDescription.model_validate(DESCRIPTION),
        configuration_name="3d_fullres",
        members=(BundleMember(name="0", network=network()),),
        source=BundleSource(folder="model", weights_sha256={"0": "ab" * 32}),
    )


def section(card: str, title: str) -> str:
    return card.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_without_evidence_training_and_scores_are_left_to_a_person(record: CardRecord) -> None:
    """B21: no number appears that no record holds."""
    card = model_card(record)
    for title in ("Training", "Measured scores", "What the conversion changed", "Licence"):
        assert NEEDS_PERSON in section(card, title)
        assert not any(c.isdigit() for c in section(card, title))
    assert "| train cases of network 0 | not in the record |" in card
    assert "| training cases in dataset.json | 7 |" in card
    assert f"| 0 | openvino | fp32 | {'ab' * 32} |" in card
    assert "| patch, voxels | 8 x 16 x 16 |" in card
    assert "subtype (multiclass): a, b, c" in card


def test_what_the_records_hold_stands_in_the_card(record: CardRecord) -> None:
    """B19, B21: figures with interval, number of cases and candidates; reasons where none is."""
    evidence = {"0": TrainingEvidence(run=RUN, scores=SCORES)}
    card = model_card(
        replace(record, evidence=evidence, gate={"passed": True, "regions": [{"dice": 0.9}]})
    )
    training, scores = section(card, "Training"), section(card, "Measured scores")
    assert FROM_RECORD in training
    assert "| epochs done | 20 |" in training
    assert "| learning rate | 0.001 |" in training
    assert "| balancing | not in the record |" in training
    assert "| train cases of network 0 | 3 |" in card
    assert r"| 0 | lesion | dsc | 0.712 | 0.600 to 0.800 | 1 |  |" in scores
    assert r"| 0 | lesion | hd95_mm | none | none | 0 | no lesion |" in scores
    assert r"| 0 | subtype | macro_f1 | 0.500 | none | 1 | one case |" in scores
    assert "confusion" not in scores
    assert "chosen from 4 candidates" in scores
    assert r"| regions\[0\].dice | 0.9 |" in section(card, "What the conversion changed")


def test_a_member_without_scores_is_named(record: CardRecord) -> None:
    two = (*record.members, BundleMember(name="1", network=network()))
    source = BundleSource(folder="model", weights_sha256={"0": "ab" * 32, "1": "cd" * 32})
    evidence = {"0": TrainingEvidence(run=RUN, scores=SCORES)}
    card = model_card(replace(record, members=two, source=source, evidence=evidence))
    assert "Not measured: network 1." in card
    assert "| epochs done | 20 | not in the record |" in card


def test_names_from_the_records_cannot_write_the_card() -> None:
    """A class called like a table, a heading, a link or a page element is shown literally."""
    text = plain("a|b\n# c <script> [x](y) `z`\x1b[2J")
    assert text == r"a\|b \# c \<script\> \[x\](y) \`z\` \[2J"


def test_the_card_lies_in_the_bundle(tmp_path: Path) -> None:
    write_sound(
        tmp_path, extras=BundleExtras(evidence={"0": TrainingEvidence(run=RUN, scores=SCORES)})
    )
    card = (tmp_path / "MODEL_CARD.md").read_text()
    assert card.startswith("# Model card: Dataset501_tiny, 3d_fullres\n")
    assert "0.712" in card
