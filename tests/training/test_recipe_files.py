from importlib import resources

import pytest

from segduet.balancing.config import FixedConfig
from segduet.core.errors import DataError, RequestError
from segduet.training.averaging_config import EmaConfig
from segduet.training.config import Recipe
from segduet.training.lengths import LENGTHS
from segduet.training.recipe_files import load_recipe, recipe_names
from segduet.training.recipe_keys import recipe_keys


@pytest.fixture
def write(tmp_path):
    def written(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    return written


def test_every_named_recipe_loads_and_knows_its_name():
    """F57."""
    assert {"default", "seed-two-phase"} <= set(recipe_names())
    assert [load_recipe(name).name for name in recipe_names()] == list(recipe_names())


def test_a_change_reaches_a_nested_setting_and_leaves_its_neighbours():
    """F57: --set."""
    recipe = load_recipe("seed-two-phase", ["optimizer.learning_rate=0.5", "epochs=3"])
    assert (recipe.optimizer.learning_rate, recipe.optimizer.name) == (0.5, "adamw")
    assert recipe.epochs == 3


def test_changes_are_typed_and_the_last_one_counts():
    """F57: numbers, words, lists, true and false, none, whole sections."""
    recipe = load_recipe(
        "default",
        [
            "epochs=3",
            "epochs=4",
            "optimizer.learning_rate=1e-3",
            "optimizer.decay_norms=false",
            "head.hidden=[8, 4]",
            "batch_size=null",
            "schedule={kind: cosine}",
        ],
    )
    assert (recipe.epochs, recipe.batch_size) == (4, None)
    assert recipe.optimizer.learning_rate == 0.001
    assert recipe.optimizer.decay_norms is False
    assert recipe.head.hidden == (8, 4)
    assert (recipe.schedule.kind, recipe.schedule.warmup_share) == ("cosine", 0)


@pytest.mark.parametrize(
    ("change", "near"),
    [
        ("optimizer.learning_speed=1", r"optimizer\.learning_speed.*optimizer\.learning_rate"),
        ("epoch=3", r"epoch:.*perhaps epochs"),
        ("learning_rate=1", r"perhaps .*optimizer\.learning_rate"),
        ("optimizer.rate_factors.head=2", r"perhaps optimizer\.rate_factors\.heads"),
        ("balancing.task_wight=2", r"balancing\.task_wight:.*balancing\.task_weight"),
        ("optimizer.zzz=1", r"one of .*optimizer\.momentum"),
    ],
)
def test_an_unknown_key_is_refused_by_name_with_the_nearest_known_one(change, near):
    """F57: also in a section of a kind, and a key of another section."""
    with pytest.raises(DataError, match=near):
        load_recipe("default", [change])


def test_every_key_of_a_whole_recipe_is_among_the_known_ones():
    """F57: the list the suggestions come from."""

    def keys(content, prefix=""):
        for key, value in content.items():
            yield prefix + key
            if isinstance(value, dict):
                yield from keys(value, f"{prefix}{key}.")

    assert set(keys(Recipe().model_dump())) <= set(recipe_keys())


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("epochs=many", r"epochs.*'many'"),
        ("epochs=2.5", r"epochs.*2\.5"),
        ("epochs=true", "epochs.*true.*number"),
        ("optimizer.learning_rate=.nan", "optimizer.learning_rate.*nan"),
        ("optimizer.momentum=false", "momentum.*false.*number"),
        ("sampling.augmentation=strong", "augmentation.*'strong'.*cue_preserving"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(change, found):
    """F57, F44."""
    with pytest.raises(DataError, match=found):
        load_recipe("nnunet-sgd", [change])


@pytest.mark.parametrize("change", ["epochs", "=3", "name.first=x", "epochs=[3"])
def test_a_change_that_is_no_assignment_is_refused(change):
    with pytest.raises(RequestError, match="--set"):
        load_recipe("default", [change])


def test_a_section_that_names_no_kind_is_of_the_defaults(write):
    """F57: neither in a change nor in a file."""
    assert load_recipe("default", ["averaging.decay=0.99"]).averaging == EmaConfig(decay=0.99)
    found = load_recipe(write("own.yaml", "balancing: {task_weight: 0.7}"))
    assert found.balancing == FixedConfig(task_weight=0.7)


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(RequestError, match="seed-two-phase"):
        load_recipe("fastest")


def test_a_recipe_file_is_read_and_a_broken_one_refused(write):
    good = write("good.yaml", "name: mine\nepochs: 7\n")
    assert load_recipe(good).epochs == 7
    with pytest.raises(RequestError, match="not YAML"):
        load_recipe(write("bad.yaml", "name: [unclosed\n"))
    with pytest.raises(RequestError, match="a list"):
        load_recipe(write("list.yaml", "- epochs\n"))


def test_a_key_given_twice_is_refused(write):
    """F57: YAML would quietly take the last."""
    with pytest.raises(RequestError, match=r"epochs.*twice"):
        load_recipe(write("twice.yaml", "epochs: 3\nseed: 1\nepochs: 4\n"))


def test_a_word_that_old_yaml_takes_for_a_boolean_stays_a_word(write):
    """F57: `off` and `no` are words."""
    assert load_recipe(write("words.yaml", "name: off\n")).name == "off"
    assert load_recipe("default", ["name=no"]).name == "no"


def test_a_file_extends_a_named_recipe_and_keeps_what_it_does_not_say(write):
    """F57: sections are merged; the name is not inherited."""
    mine = load_recipe(write("m.yaml", "extends: default\noptimizer: {learning_rate: 0.5}\n"))
    base = load_recipe("default")
    assert mine.optimizer.learning_rate == 0.5
    assert mine.name == "unnamed"
    same = mine.model_copy(update={"name": base.name, "optimizer": base.optimizer})
    assert same == base
    assert mine.optimizer.model_copy(update={"learning_rate": 0.001}) == base.optimizer


def test_paths_in_a_chain_start_at_the_file_that_says_them(write):
    """F57: three files deep, nearest wins, then the changes."""
    write("root.yaml", "epochs: 7\nseed: 1\nsteps_per_epoch: 9\n")
    write("sub/middle.yaml", "extends: ../root.yaml\nseed: 2\n")
    last = write("last.yaml", "extends: sub/middle.yaml\nsteps_per_epoch: 3\n")
    recipe = load_recipe(last, ["epochs=5"])
    assert (recipe.epochs, recipe.seed, recipe.steps_per_epoch) == (5, 2, 3)


def test_a_section_of_another_kind_replaces_the_bases_section(write):
    """F57: the old kind's settings would have no meaning."""
    text = "extends: seed-two-phase\nbalancing: {kind: fixed, task_weight: 0.2}\n"
    recipe = load_recipe(write("fixed.yaml", text))
    assert (recipe.balancing.kind, recipe.balancing.task_weight) == ("fixed", 0.2)
    assert recipe.head == load_recipe("seed-two-phase").head


def test_extending_in_a_circle_or_what_is_not_there_is_refused(write):
    """F57: bad input."""
    one = write("one.yaml", "extends: two.yaml\n")
    write("two.yaml", "extends: one.yaml\n")
    with pytest.raises(RequestError, match="circle"):
        load_recipe(one)
    with pytest.raises(RequestError, match=r"none\.yaml.*named recipe nor a file"):
        load_recipe(write("lost.yaml", "extends: none.yaml\n"))


def test_the_named_lengths_are_nnunets():
    """F62: 20, 100, 150, 200, 500, 1000 epochs."""
    assert list(LENGTHS.values()) == [20, 100, 150, 200, 500, 1000]
    for name, epochs in LENGTHS.items():
        assert load_recipe("default", [f"length={name}"]).epochs == epochs


def test_a_length_replaces_the_epochs_of_what_lies_below(write):
    """F62: in a file over its base, in a change over the file, and the other way round."""
    mine = write("mine.yaml", "extends: seed-two-phase\nlength: short\n")
    assert load_recipe("seed-two-phase").epochs == 500
    assert load_recipe(mine).epochs == 100
    assert load_recipe(mine, ["length=nnunet"]).epochs == 1000
    assert load_recipe(mine, ["epochs=7"]).epochs == 7


def test_a_length_beside_epochs_or_an_unknown_one_is_refused(write):
    """F62: bad input."""
    with pytest.raises(RequestError, match="both `length` and `epochs`"):
        load_recipe(write("both.yaml", "length: short\nepochs: 3\n"))
    with pytest.raises(RequestError, match="both `length` and `epochs`"):
        load_recipe("default", ["length=short", "epochs=3"])
    with pytest.raises(RequestError, match=r"'endless'.*'short': 100"):
        load_recipe("default", ["length=endless"])


def test_what_is_saved_with_a_run_gives_the_recipe_back(write):
    """F57: the dump that run.json holds is a recipe file."""
    import json

    recipe = load_recipe("seed-two-phase", ["length=trial"])
    again = load_recipe(write("run.json", json.dumps(recipe.model_dump(mode="json"))))
    assert again == recipe


def test_the_named_recipes_are_in_the_package():
    folder = resources.files("segduet.training") / "recipes"
    assert {p.name for p in folder.iterdir()} == {f"{name}.yaml" for name in recipe_names()}
