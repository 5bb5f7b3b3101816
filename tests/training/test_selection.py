"""F51: declared selection rules, their formulas, and models kept on the way."""

import pytest
from pydantic import ValidationError

from segduet.core.errors import RequestError
from segduet.training.config import ValidationConfig
from segduet.training.selection import (
    periodic_model,
    periodic_models,
    require_known_names,
    selection_formula,
    selection_score,
)

MEASURED = {
    "score": 0.7,
    "dsc": {"whole": 0.9, "lesion": 0.5, "mean_foreground": 0.7},
    "task_score": {"subtype": 0.6, "grade": None},
}

#: The third seed's .4 whole + .3 lesion + .3 F1; the first's .9 Dice + .1 F1 of its first phase.
THIRD = {"region:whole": 0.4, "region:lesion": 0.3, "task:subtype": 0.3}
FIRST = {"region:mean_foreground": 0.9, "task:subtype": 0.1}


def _weighted(weights):
    return ValidationConfig(
        full_cases_every=1, selection="best_weighted", selection_weights=weights
    )


@pytest.mark.parametrize(
    ("weights", "expected", "formula"),
    [
        (THIRD, 0.36 + 0.15 + 0.18, "0.4 DSC(whole) + 0.3 DSC(lesion) + 0.3 score(subtype)"),
        (FIRST, 0.63 + 0.06, "0.9 DSC(mean_foreground) + 0.1 score(subtype)"),
    ],
)
def test_the_seeds_rules_by_hand(weights, expected, formula):
    config = _weighted(weights)
    assert selection_score(MEASURED, config) == pytest.approx(expected)
    assert selection_formula(config) == f"{formula}, full validation cases"


def test_the_other_rules_take_the_joint_score_or_none():
    joint = ValidationConfig(full_cases_every=1, selection="best_joint")
    assert selection_score(MEASURED, joint) == 0.7
    assert "mean_foreground DSC" in selection_formula(joint)
    assert selection_score(MEASURED, ValidationConfig()) is None
    assert selection_formula(ValidationConfig()) == "weights of the last epoch"


def test_an_undefined_part_makes_no_candidate_and_is_named(caplog):
    assert selection_score(MEASURED, _weighted({"region:whole": 0.5, "task:grade": 0.5})) is None
    assert "task:grade" in caplog.text


@pytest.mark.parametrize("name", ["region:lesoin", "task:subtpye", "task:whole", "region:subtype"])
def test_a_name_the_dataset_does_not_have_is_refused(name):
    with pytest.raises(RequestError, match=rf"a weight for '{name}'.*region:lesion"):
        require_known_names(
            _weighted({name: 1.0}), regions=["whole", "lesion"], tasks=["subtype", "grade"]
        )


def test_names_the_dataset_has_pass():
    require_known_names(_weighted(THIRD | FIRST), regions=["whole", "lesion"], tasks=["subtype"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"selection": "best_weighted", "full_cases_every": 1}, "need each other"),
        ({"selection_weights": THIRD}, "need each other"),
        ({"selection": "best_weighted", "selection_weights": THIRD}, "full_cases_every"),
        ({"selection": "best_weighted", "selection_weights": {"whole": 1}}, "region"),
        ({"selection": "best_weighted", "selection_weights": {"region:whole": 0}}, "greater"),
    ],
)
def test_rules_that_cannot_act_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        ValidationConfig.model_validate(settings)


def test_periodic_models_are_listed_by_epoch(tmp_path):
    assert periodic_model(tmp_path, 50).name == "model_epoch_0050.safetensors"
    for epoch in (12000, 50, 100):
        periodic_model(tmp_path, epoch).touch()
    (tmp_path / "model_best.safetensors").touch()
    names = [path.name for path in periodic_models(tmp_path)]
    assert names == [f"model_epoch_{e}.safetensors" for e in ("0050", "0100", "12000")]
