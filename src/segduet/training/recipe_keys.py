"""A recipe's content against `Recipe`: unknown keys are named, with the nearest known one (F57)."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from segduet.core.description import validated
from segduet.core.errors import DataError
from segduet.training.config import Recipe


def checked_recipe(content: Mapping[str, Any], *, where: str) -> Recipe:
    """The recipe of a parsed file with its changes; a section without a kind is of the default's.

    Raises:
        DataError: an unknown key, or a value of the wrong kind; the message names it.
    """
    try:
        recipe = validated(Recipe, _with_kinds(content), where=where)
    except DataError as error:
        refuse_unknown_key(
            error,
            content,
            known=recipe_keys(),
            where=where,
            remedy="Correct or remove it; docs/recipes.md lists every key.",
        )
        raise
    _refuse_bools_as_numbers(content, recipe, where)
    return recipe


def _with_kinds(content: Mapping[str, Any]) -> dict[str, Any]:
    """Pydantic cannot choose among kinds where a section such as `{decay: 0.99}` names none."""
    kinds = {name: section["kind"] for name, section in _default_sections() if "kind" in section}
    return {
        name: {"kind": kinds[name], **value}
        if name in kinds and isinstance(value, Mapping)
        else value
        for name, value in content.items()
    }


def _default_sections() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, value in Recipe().model_dump(mode="json").items():
        if isinstance(value, Mapping):
            yield name, value


def recipe_keys() -> tuple[str, ...]:
    """Every key a recipe file may have, with dots, such as `optimizer.learning_rate`."""
    return tuple(dict.fromkeys(["extends", "length", *model_keys(Recipe)]))


def model_keys(model: type[BaseModel]) -> tuple[str, ...]:
    """Every key a file of this model may have, with dots."""
    schema = model.model_json_schema()
    return tuple(dict.fromkeys(_keys(schema, schema.get("$defs", {}), prefix="")))


def _keys(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], *, prefix: str
) -> Iterator[str]:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[-1]]
    for variant in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _keys(variant, definitions, prefix=prefix)
    for name, inner in schema.get("properties", {}).items():
        yield prefix + name
        yield from _keys(inner, definitions, prefix=f"{prefix}{name}.")


def _key_at(location: Sequence[int | str], content: Any) -> str:
    """The key with dots; pydantic's location also holds the kind of a section, which is no key."""
    path = []
    for part in location:
        if isinstance(content, Mapping) and part in content:
            path.append(str(part))
            content = content[part]
    return ".".join(path)


def refuse_unknown_key(
    error: DataError,
    content: Mapping[str, Any],
    *,
    known: Sequence[str],
    where: str,
    remedy: str,
) -> None:
    """Names the nearest known keys where an unknown one was the error; else does nothing.

    Args:
        error: of `validated`.
        content: what was validated.
        known: every key, with dots.
        where: the file.
        remedy: where the keys are listed.

    Raises:
        DataError: an unknown key.
    """
    cause = error.__cause__
    first = cause.errors()[0] if isinstance(cause, ValidationError) else None
    if first is None or first["type"] != "extra_forbidden":
        return
    key = _key_at(first["loc"], content)
    section = key.rpartition(".")[0]
    beside = [k for k in known if k.rpartition(".")[0] == section]
    near = _near(key, beside, cutoff=0.6) or _near(key, known, cutoff=0.8)
    raise DataError(
        f"{where}, {key}",
        found="an unknown key",
        expected=f"perhaps {' or '.join(near)}" if near else f"one of {', '.join(beside)}",
        remedy=remedy,
    ) from error


def _near(key: str, known: Sequence[str], *, cutoff: float) -> list[str]:
    """Up to three known keys whose last word is like the key's."""
    words = {k: k.rpartition(".")[2] for k in known}
    like = difflib.get_close_matches(key.rpartition(".")[2], words.values(), cutoff=cutoff)
    return [k for word in dict.fromkeys(like) for k, w in words.items() if w == word][:3]


def _refuse_bools_as_numbers(content: Mapping[str, Any], model: BaseModel, where: str) -> None:
    """Without this, true would become a 1."""
    for key, value in content.items():
        result = getattr(model, key)
        if isinstance(value, bool) and not isinstance(result, bool):
            raise DataError(
                f"{where}, {key}",
                found=str(value).lower(),
                expected="a number",
                remedy="Write the number.",
            )
        if isinstance(value, Mapping) and isinstance(result, BaseModel):
            _refuse_bools_as_numbers(value, result, where)
