"""Named recipes, recipe files that extend each other, and `--set key=value` changes (F57, F62)."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from segduet.core.errors import RequestError
from segduet.training.config import Recipe
from segduet.training.lengths import epochs_of, refuse_both
from segduet.training.recipe_keys import checked_recipe
from segduet.training.recipe_yaml import parse_yaml


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with segduet."""
    folder = resources.files("segduet.training") / "recipes"
    return tuple(sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if "yaml" in p.name))


def load_recipe(name_or_file: str, changes: Sequence[str] = ()) -> Recipe:
    """Reads a named recipe or a YAML file and applies `key.sub=value` changes.

    A file may build on another with `extends: NAME_OR_FILE`: what it does not say is taken from
    there, except for the name. A section that gives a `kind` other than the base's replaces the
    base's section as a whole. `length: NAME` stands for a number of epochs.

    Args:
        name_or_file: a name from `recipe_names`, or the path of a YAML file.
        changes: made last, in their order; a value is YAML, so `section={...}` replaces a section.

    Raises:
        RequestError: no such recipe, file or length, a circle of files, a change that is not
            `key=value`, or epochs and a length in the same place.
        DataError: an unknown key or a value of the wrong kind; the message names it.
    """
    content = _with_base(name_or_file, folder=Path(), above=())
    assignments = [_assignment(change) for change in changes]
    refuse_both({".".join(keys) for keys, _ in assignments}, where="--set")
    for (keys, value), change in zip(assignments, changes, strict=True):
        if keys == ["length"]:
            content["epochs"] = epochs_of(value, where=f"--set {change}")
        else:
            content = _with(content, keys, value, change)
    return checked_recipe(content, where=f"recipe {name_or_file}")


def _with_base(name_or_file: str, *, folder: Path, above: tuple[str, ...]) -> dict[str, Any]:
    """A file's content on top of what it extends; paths in it start at its own folder."""
    place = name_or_file if name_or_file in recipe_names() else str(folder / name_or_file)
    if place in above:
        raise RequestError(
            f"recipe {above[0]}",
            found=f"a circle: {' extends '.join([*above, place])}",
            expected="recipes that end in one without `extends`",
            remedy="Remove one `extends`.",
        )
    content = _parsed(_text(place), place)
    refuse_both(content.keys() & {"length", "epochs"}, where=f"recipe {place}")
    if "length" in content:
        content["epochs"] = epochs_of(content.pop("length"), where=f"recipe {place}")
    if "extends" not in content:
        return content
    base_name = str(content.pop("extends"))
    base = _with_base(base_name, folder=Path(place).parent, above=(*above, place))
    base.pop("name", None)
    return _merged(base, content)


def _merged(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in layer.items():
        merges = _is_section_of_same_kind(base.get(key), value)
        result[key] = _merged(base[key], value) if merges else value
    return result


def _is_section_of_same_kind(old: Any, new: Any) -> bool:
    """Whether both are sections, and the new one does not choose another kind."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return False
    return "kind" not in new or new["kind"] == old.get("kind")


def _text(place: str) -> str:
    if place in recipe_names():
        packaged = resources.files("segduet.training") / "recipes" / f"{place}.yaml"
        return packaged.read_text(encoding="utf-8")
    if Path(place).is_file():
        return Path(place).read_text(encoding="utf-8", errors="replace")
    raise RequestError(
        f"recipe {place!r}",
        found="neither a named recipe nor a file",
        expected=f"one of {list(recipe_names())} or the path of a YAML file",
        remedy="Correct the name; `segduet info` lists the recipes.",
    )


def _parsed(text: str, place: str) -> dict[str, Any]:
    try:
        content = parse_yaml(text)
    except yaml.YAMLError as error:
        raise RequestError(
            f"recipe {place}",
            found=f"text that is not YAML ({error})",
            expected="a YAML mapping of settings",
            remedy="Correct the file.",
        ) from error
    if not isinstance(content or {}, dict):
        raise RequestError(
            f"recipe {place}",
            found=f"a {type(content).__name__}",
            expected="a YAML mapping of settings",
            remedy="Write one setting per line, as `key: value`.",
        )
    return content or {}


def _assignment(change: str) -> tuple[list[str], Any]:
    key, separator, value = change.partition("=")
    if not separator or not key:
        raise RequestError(
            f"--set {change}",
            found="no `key=value`",
            expected="something like optimizer.learning_rate=0.001",
            remedy="Write the key, an equals sign and the value, without spaces.",
        )
    try:
        return key.split("."), parse_yaml(value)
    except yaml.YAMLError as error:
        raise RequestError(
            f"--set {change}",
            found=f"a value that is not YAML ({' '.join(str(error).split())})",
            expected="a number, a word, or a list such as [64, 32]",
            remedy="Correct the value.",
        ) from error


def _with(content: Mapping[str, Any], keys: list[str], value: Any, change: str) -> dict[str, Any]:
    head, *rest = keys
    if not rest:
        return {**content, head: value}
    inner = content.get(head, {})
    if not isinstance(inner, Mapping):
        raise RequestError(
            f"--set {change}",
            found=f"{head!r}, which has no settings below it",
            expected="the name of a section, then a dot and a setting",
            remedy="See the recipe's keys in docs/recipes.md.",
        )
    return {**content, head: _with(inner, rest, value, change)}
