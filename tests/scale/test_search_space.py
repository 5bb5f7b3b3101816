"""F60: `search` of a study: what may be tried, which trial is hopeless, which is not beaten."""

import pytest
from pydantic import ValidationError

from segduet.scale.search_space import (
    Choices,
    MedianPruning,
    Range,
    Search,
    front,
    is_hopeless,
)

_RULE = MedianPruning(after_epochs=2, after_trials=3)
_OTHERS = [(0.1, 0.2, 0.9), (0.3, 0.4, 0.5), (0.5, 0.6, 0.7)]


@pytest.mark.parametrize(
    "space",
    [
        {"low": 1, "high": 1},
        {"low": 0, "high": 1, "log": True},
        {"choices": [1]},
        {"low": 1, "high": 2, "step": 1},
        {"low": 1},
    ],
)
def test_a_space_that_leaves_nothing_to_try_is_refused(space: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Search.model_validate({"space": {"epochs": space}, "trials": 2})


def test_a_range_is_whole_where_both_ends_are() -> None:
    assert Range.model_validate({"low": 1, "high": 8}).is_whole
    assert not Range.model_validate({"low": 1.0, "high": 8}).is_whole


def test_a_grid_takes_no_ranges() -> None:
    with pytest.raises(ValidationError, match="choices for 'epochs'"):
        Search(space={"epochs": Range(low=1, high=2)}, trials=1, sampler="grid")


def test_a_grid_holds_every_combination_up_to_the_trials() -> None:
    space = {"a": Choices(choices=(1, 2)), "b": Choices(choices=("x", "y", "z"))}
    grid = Search(space=space, trials=99, sampler="grid").grid()
    assert len(grid) == 6
    assert grid[:2] == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}]
    assert len(Search(space=space, trials=4, sampler="grid").grid()) == 4


def test_examples_hold_every_end_and_choice() -> None:
    space = {"a": Range(low=1, high=9), "b": Choices(choices=("x", "y"))}
    examples = Search(space=space, trials=1).examples()
    assert {example["a"] for example in examples} == {1, 9}
    assert {example["b"] for example in examples} == {"x", "y"}


def test_a_trial_below_the_median_of_the_others_bests_is_hopeless() -> None:
    # Bests of the others after two epochs: 0.2, 0.4, 0.6; their median is 0.4.
    assert is_hopeless((0.39, 0.1), _OTHERS, _RULE)
    assert not is_hopeless((0.4, 0.1), _OTHERS, _RULE)
    assert is_hopeless((0.0, 0.0, 0.69), _OTHERS, _RULE)  # 0.9, 0.5, 0.7 after three


def test_nothing_is_hopeless_too_early_or_beside_too_few() -> None:
    assert not is_hopeless((0.0,), _OTHERS, _RULE)
    assert not is_hopeless((0.0, 0.0), _OTHERS[:2], _RULE)
    assert not is_hopeless((0.0, 0.0, 0.0, 0.0), _OTHERS, _RULE)  # none got as far


def test_the_front_holds_what_no_other_trial_beats() -> None:
    values = {0: (0.9, 5.0), 1: (0.8, 1.0), 2: (0.8, 2.0), 3: (0.9, 5.0), 4: (0.7, 1.0)}
    # 2 has the DSC of 1 and takes longer, 4 is as fast as 1 and worse; 0 and 3 are equal.
    assert front(values, ("dsc", "seconds_per_case")) == [0, 1, 3]
    assert front({}, ("dsc",)) == []
