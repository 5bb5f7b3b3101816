"""Named recipes, recipe files and `--set key=value` changes, all checked against `Recipe` (F57)."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from segduet.core.description import validated
from segduet.core.errors import RequestError
from segduet.training.config import Recipe


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with segduet."""
    folder = resources.files("segduet.training") / "recipes"
    return tuple(sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if "yaml" in p.name))


def load_recipe(name_or_file: str, changes: Sequence[str] = ()) -> Recipe:
    """Reads a named recipe or a YAML file and applies `key.sub=value` changes.

    Raises:
        RequestError: no such recipe or file, or a change that is not `key=value`.
        DataError: an unknown key or a value of the wrong kind; the message names it.
    """
    content = _read(name_or_file)
    for change in changes:
        key, separator, value = change.partition("=")
        if not separator or not key:
            raise RequestError(
                f"--set {change}",
                found="no `key=value`",
                expected="something like optimizer.learning_rate=0.001",
                remedy="Write the key, an equals sign and the value, without spaces.",
            )
        content = _with(content, key.split("."), _value(value, change), change)
    return validated(Recipe, content, where=f"recipe {name_or_file}")


def _value(text: str, change: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RequestError(
            f"--set {change}",
            found=f"a value that is not YAML ({' '.join(str(error).split())})",
            expected="a number, a word, or a list such as [64, 32]",
            remedy="Correct the value.",
        ) from error


def _read(name_or_file: str) -> dict[str, Any]:
    if name_or_file in recipe_names():
        packaged = resources.files("segduet.training") / "recipes" / f"{name_or_file}.yaml"
        text = packaged.read_text(encoding="utf-8")
    elif Path(name_or_file).is_file():
        text = Path(name_or_file).read_text(encoding="utf-8", errors="replace")
    else:
        raise RequestError(
            f"recipe {name_or_file!r}",
            found="neither a named recipe nor a file",
            expected=f"one of {list(recipe_names())} or the path of a YAML file",
            remedy="Correct the name; `segduet info` lists the recipes.",
        )
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RequestError(
            f"recipe {name_or_file}",
            found=f"text that is not YAML ({error})",
            expected="a YAML mapping of settings",
            remedy="Correct the file.",
        ) from error
    if not isinstance(content or {}, dict):
        raise RequestError(
            f"recipe {name_or_file}",
            found=f"a {type(content).__name__}",
            expected="a YAML mapping of settings",
            remedy="Write one setting per line, as `key: value`.",
        )
    return content or {}


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
