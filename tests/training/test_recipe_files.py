import pytest

from segduet.core.errors import DataError, RequestError
from segduet.training.recipe_files import load_recipe, recipe_names


def test_every_named_recipe_loads_and_knows_its_name():
    """F57."""
    assert {"default", "seed-two-phase"} <= set(recipe_names())
    assert [load_recipe(name).name for name in recipe_names()] == list(recipe_names())


def test_a_change_reaches_a_nested_setting_and_leaves_its_neighbours():
    """F57: --set."""
    recipe = load_recipe("seed-two-phase", ["optimizer.learning_rate=0.5", "epochs=3"])
    assert (recipe.optimizer.learning_rate, recipe.optimizer.name) == (0.5, "adamw")
    assert recipe.epochs == 3


def test_an_unknown_key_is_refused_by_name():
    """F57: unknown key rejected."""
    with pytest.raises(DataError, match="learning_speed"):
        load_recipe("default", ["optimizer.learning_speed=1"])


def test_a_value_of_the_wrong_kind_is_refused():
    with pytest.raises(DataError, match=r"epochs.*'many'"):
        load_recipe("default", ["epochs=many"])


@pytest.mark.parametrize("change", ["epochs", "=3", "name.first=x"])
def test_a_change_that_is_no_assignment_is_refused(change):
    with pytest.raises(RequestError, match="--set"):
        load_recipe("default", [change])


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(RequestError, match="seed-two-phase"):
        load_recipe("fastest")


def test_a_recipe_file_is_read_and_a_broken_one_refused(tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("name: mine\nepochs: 7\n")
    bad.write_text("name: [unclosed\n")
    assert load_recipe(str(good)).epochs == 7
    with pytest.raises(RequestError, match="not YAML"):
        load_recipe(str(bad))
