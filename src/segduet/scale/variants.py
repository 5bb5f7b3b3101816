"""The models of a study: every recipe in every arm, configuration and seed, each with its name."""

import json
import re
from dataclasses import dataclass
from itertools import product
from typing import Any

import yaml

from segduet.core.errors import RequestError, SegduetError
from segduet.scale.study import BASELINE, Study
from segduet.training.config import Recipe
from segduet.training.recipe_files import load_recipe, recipe_names
from segduet.training.recipe_yaml import parse_yaml

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One model of a study: what is trained once per fold.

    Attributes:
        recipe: name, or absolute path of a file.
        recipe_label: the recipe as a part of names.
        arm: name; `baseline` changes nothing.
        configuration: as the plan calls it.
        seed: of start and samples.
        changes: recipe changes as after `--set`, those of the arm after the study's.
    """

    recipe: str
    recipe_label: str
    arm: str
    configuration: str
    seed: int
    changes: tuple[str, ...]

    @property
    def what(self) -> str:
        """Recipe and arm; a baseline keeps its name when arms are added to the study."""
        return self.recipe_label + ("" if self.arm == BASELINE else f"-{self.arm}")

    @property
    def name(self) -> str:
        """Unique in its study; last part of the names of its units."""
        return f"{self.what}-{name_part(self.configuration)}-s{self.seed}"


def variants(study: Study) -> tuple[Variant, ...]:
    """Every model of the study, in the order of the file, with its recipe checked.

    Raises:
        RequestError, DataError: a recipe that does not exist, or an arm that it cannot take.
    """
    found, recipes = [], dict[str, Recipe]()
    for recipe, (arm, overrides) in product(study.recipes, study.all_arms.items()):
        given = recipe if recipe in recipe_names() else str(study.resolved(recipe))
        changes = tuple(change_text(k, v) for k, v in {**study.set, **overrides}.items())
        resolved = _resolved(study, given, arm, changes)
        _refuse_same(study, f"arm {arm!r} of recipe {recipe!r}", resolved, recipes)
        found += [
            Variant(
                recipe=given,
                recipe_label=name_part(recipe.rpartition("/")[2].removesuffix(".yaml")),
                arm=arm,
                configuration=configuration,
                seed=seed,
                changes=(*changes, f"seed={seed}"),
            )
            for configuration, seed in product(study.configurations, study.seeds)
        ]
    return tuple(found)


def name_part(text: str) -> str:
    """The text in lower-case letters, digits and hyphens: `3d_fullres` becomes `3d-fullres`."""
    return _NOT_IN_NAMES.sub("-", text.lower()).strip("-")


def change_text(key: str, value: Any) -> str:
    """`key=value` as after `--set`, which reads the same value back."""
    text = value if isinstance(value, str) and _reads_back(value) else json.dumps(value)
    return f"{key}={text}"


def _reads_back(text: str) -> bool:
    try:
        return bool(parse_yaml(text) == text)
    except yaml.YAMLError:
        return False


def _resolved(study: Study, recipe: str, arm: str, changes: tuple[str, ...]) -> Recipe:
    try:
        return load_recipe(recipe, changes)
    except SegduetError as error:
        place = f"arms.{arm}" if arm != BASELINE else "recipes and set"
        raise RequestError(
            f"study {study.source}, {place}: {error.where}",
            found=error.found,
            expected=error.expected,
            remedy=error.remedy,
        ) from error


def _refuse_same(study: Study, what: str, recipe: Recipe, others: dict[str, Recipe]) -> None:
    """Adds the recipe to the others; refuses one that trains what another does already."""
    same = [name for name, other in others.items() if _decides(other) == _decides(recipe)]
    if same:
        raise RequestError(
            f"study {study.source}, {what}",
            found=f"the same settings as {same[0]}",
            expected="recipes and arms that differ, `set` and defaults included",
            remedy="Remove one of them, or change what it sets.",
        )
    others[what] = recipe


def _decides(recipe: Recipe) -> dict[str, Any]:
    """All that a training depends on."""
    return recipe.model_dump(exclude={"name"})
