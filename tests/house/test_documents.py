"""The code in CONTRIBUTING.md runs, and its links lead somewhere."""

import re
from pathlib import Path

import pytest


def python_blocks(text: str) -> list[str]:
    """Contents of the fenced Python blocks of a Markdown text."""
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_worked_example_passes_its_own_tests(repository: Path) -> None:
    loss, tests = python_blocks((repository / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    exec(compile(loss + tests, "CONTRIBUTING.md", "exec"), names)
    found = [value for name, value in names.items() if name.startswith("test_")]
    assert len(found) == 2
    for test in found:
        assert callable(test)
        test()


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
