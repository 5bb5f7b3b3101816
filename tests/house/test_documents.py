"""The documents keep their word: code and commands run, links lead somewhere, no key is missing."""

import json
import re
import shlex
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from segduet.cli.program import program
from segduet.dataset.importers.task_columns import parse_task_column
from segduet.training.config import Recipe
from segduet.training.recipe_files import load_recipe, recipe_names
from segduet.training.recipe_keys import recipe_keys
from segduet.training.recipe_yaml import parse_yaml

#: Keys of a recipe file that stand for others, so that `Recipe` does not have them.
SHORTHANDS = {"extends", "length"}


def blocks(text: str, *languages: str) -> list[str]:
    """Contents of the fenced blocks of a Markdown text that are in one of these languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [content for language, content in found if language in languages]


def commands(text: str) -> list[list[str]]:
    """The `segduet` commands in a text's shell blocks, as arguments after `segduet`."""
    lines = "".join(blocks(text, "", "sh")).replace("\\\n", " ").splitlines()
    parts = [shlex.split(line, comments=True) for line in lines if line.startswith("segduet ")]
    return [arguments for _, *arguments in parts]


def test_commands_are_found_with_continued_lines_comments_and_quotes() -> None:
    text = '```sh\nsegduet train a \\\n  --set "b={c: 1}"  # d\nls\n```\n```yaml\nsegduet: 1\n```\n'
    assert commands(text) == [["train", "a", "--set", "b={c: 1}"]]


@pytest.fixture(scope="module")
def pages(repository: Path) -> dict[str, str]:
    """Documents for users: path -> text."""
    guide = sorted((repository / "docs" / "guide").glob("*.md"))
    paths = [repository / "README.md", repository / "docs" / "recipes.md", *guide]
    return {path.relative_to(repository).as_posix(): path.read_text("utf-8") for path in paths}


def test_the_worked_example_passes_its_own_tests(repository: Path) -> None:
    text = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    loss, tests = blocks(text, "python")
    names: dict[str, object] = {}
    exec(compile(loss + tests, "CONTRIBUTING.md", "exec"), names)
    found = [value for name, value in names.items() if name.startswith("test_")]
    assert len(found) == 2
    for test in found:
        assert callable(test)
        test()


def test_the_worked_example_does_not_write_over_a_module(repository: Path) -> None:
    text = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    new = re.findall(r"\*\*: `((?:src|tests)/[\w/]+\.py)`", text)
    assert len(new) == 2
    assert [path for path in new if (repository / path).exists()] == []


def test_links_between_documents_lead_to_files(repository: Path) -> None:
    documents = [*repository.glob("*.md"), *(repository / "docs").rglob("*.md")]
    broken = []
    for document in documents:
        targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
        local = [target for target in targets if "://" not in target and "@" not in target]
        broken += [(document.name, t) for t in local if not (document.parent / t).exists()]
    assert documents
    assert broken == []


@pytest.mark.parametrize("word", ["case", "region", "fold", "plan", "reference", "engine"])
def test_the_glossary_has_the_words_of_the_style_guide(repository: Path, word: str) -> None:
    glossary = (repository / "docs" / "reference" / "glossary.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| ([\w ]+, )?{word}[ ,|]", glossary, re.MULTILINE)


def test_every_page_of_the_guide_is_linked_from_its_index(pages: dict[str, str]) -> None:
    linked = set(re.findall(r"\]\((\w+\.md)\)", pages["docs/guide/README.md"]))
    names = {name.removeprefix("docs/guide/") for name in pages if name.startswith("docs/guide/")}
    assert linked == names - {"README.md"}
    assert {"networks.md", "heads.md", "losses.md", "balancing.md"} <= linked


def test_every_command_in_the_documents_is_understood(
    pages: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F57: each goes through the real parser; each recipe, with its changes, and task loads."""
    monkeypatch.chdir(tmp_path)
    for content in (block for text in pages.values() for block in blocks(text, "yaml")):
        Path(f"{parse_yaml(content)['name']}.yaml").write_text(content)
    known: Any = program()
    given = [arguments for text in pages.values() for arguments in commands(text)]
    assert len(given) > 50
    for name, *arguments in given:
        options = known.commands[name].make_context(name, list(arguments)).params
        if name == "train":
            heat = ["thermal.enabled=true"] if options["thermal_guard"] else []
            load_recipe(options["recipe"], [*(options["change"] or []), *heat])
        for task in options["task"] if name == "import" and options["task"] else ():
            parse_task_column(task)


def test_every_named_recipe_is_listed(pages: dict[str, str]) -> None:
    rows = re.findall(r"^\| (`[\w, `-]+`) \|", pages["docs/recipes.md"], re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`([\w-]+)`", row)]
    assert set(recipe_names()) <= set(listed)


def sections_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a field's type: one, or those of its kinds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType):
        for variant in get_args(annotation):
            yield from sections_of(variant)


def defaults(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every key of a model and its sections with its default as JSON, once for every kind."""
    for name, field in model.model_fields.items():
        key, kinds = prefix + name, list(sections_of(field.annotation))
        for kind in kinds:
            inner = defaults(kind, f"{key}.")
            yield from (pair for pair in inner if pair[0] != f"{key}.kind" or len(kinds) == 1)
        if len(kinds) > 1:
            yield f"{key}.kind", json.dumps(field.default.kind)
        elif not kinds and not field.is_required():
            yield key, json.dumps(field.get_default(call_default_factory=True))


def documented(page: str) -> dict[str, set[str]]:
    """Key -> its documented defaults as JSON; a row of several keys has one default for each."""
    found: dict[str, set[str]] = {}
    for cell, stated in re.findall(r"^\| (`[\w.`, ]+`) \| ([^|]*) \|", page, re.MULTILINE):
        keys = re.findall(r"`([\w.]+)`", cell)
        for variant in stated.replace("`", "").split(" / "):
            values = [_number(value) for value in parse_yaml(f"[{variant}]")]
            for key, value in zip(keys, values, strict=False):
                found.setdefault(key, set()).add(json.dumps(value))
    return found


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and re.fullmatch(r"\d+e-\d+", value) else value


def test_every_key_of_a_recipe_stands_in_its_page_with_its_default(pages: dict[str, str]) -> None:
    """F57."""
    wanted: dict[str, set[str]] = {}
    for key, default in defaults(Recipe):
        wanted.setdefault(key, set()).add(default)
    stated = documented(pages["docs/recipes.md"])
    assert len(wanted) > 100
    assert {key: stated.get(key) for key in wanted} == wanted
    assert all(f"| `{key}` |" in pages["docs/recipes.md"] for key in SHORTHANDS)


def test_no_page_names_a_key_that_is_gone(pages: dict[str, str]) -> None:
    keys = set(recipe_keys())
    sections = {key.partition(".")[0] for key in keys if "." in key}
    pattern = re.compile(rf"`((?:{'|'.join(sorted(sections))})\.\w[\w.]*)(?:=[^`]*)?`")
    named = {(page, key) for page, text in pages.items() for key in pattern.findall(text)}
    assert len(named) > 100
    assert {(page, key) for page, key in named if key not in keys} == set()
