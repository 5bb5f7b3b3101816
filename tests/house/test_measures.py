"""How the package reads: sizes of functions and files, types, docstrings, import cycles.

A body's lines run from its first statement after the docstring to its last line.
"""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import numpy as np
import pytest

Function = ast.FunctionDef | ast.AsyncFunctionDef
BODY_P90, BODY_MAX, FILE_MAX = 25, 60, 400


def parse(package: Path) -> dict[str, ast.Module]:
    """Dotted module name -> syntax tree, for every file of a package."""
    trees = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    return trees


def functions(trees: dict[str, ast.Module]) -> Iterator[tuple[str, Function]]:
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield f"{module}:{node.name}", node


def body_lines(function: Function) -> int:
    statements = function.body[1:] if ast.get_docstring(function) else function.body
    return statements[-1].end_lineno - statements[0].lineno + 1 if statements else 0


def is_typed(function: Function) -> bool:
    listed = function.args
    named = [*listed.posonlyargs, *listed.args, *listed.kwonlyargs, listed.vararg, listed.kwarg]
    wanted = [a for a in named if a is not None and a.arg not in ("self", "cls")]
    return function.returns is not None and all(a.annotation for a in wanted)


def undocumented(trees: dict[str, ast.Module]) -> list[str]:
    """Public functions, classes and methods without a docstring."""
    missing = []
    for module, tree in trees.items():
        classes = [n for n in tree.body if isinstance(n, ast.ClassDef)]
        scopes = [tree, *(c for c in classes if not c.name.startswith("_"))]
        for scope in scopes:
            named = [n for n in scope.body if isinstance(n, Function | ast.ClassDef)]
            public = [n for n in named if not n.name.startswith("_")]
            missing += [f"{module}:{n.name}" for n in public if not ast.get_docstring(n)]
    return missing


def imports(tree: ast.Module, known: set[str]) -> set[str]:
    """Modules of the package that a module imports, imports inside functions counted."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are banned (TID252)"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in known else str(node.module))
    return found & known


def cycle(trees: dict[str, ast.Module]) -> list[str]:
    """One ring of modules that import each other, or nothing."""
    graph = {name: imports(tree, set(trees)) - {name} for name, tree in trees.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.fixture(scope="module")
def package(repository: Path) -> Path:
    return repository / "src" / "segduet"


@pytest.fixture(scope="module")
def trees(package: Path) -> dict[str, ast.Module]:
    return parse(package)


def test_function_bodies_are_short(trees: dict[str, ast.Module]) -> None:
    sizes = {name: body_lines(function) for name, function in functions(trees)}
    assert {name: n for name, n in sizes.items() if n > BODY_MAX} == {}
    assert np.percentile(list(sizes.values()), 90) <= BODY_P90


def test_files_are_short(package: Path) -> None:
    sizes = {p.name: len(p.read_text(encoding="utf-8").splitlines()) for p in package.rglob("*.py")}
    assert {name: n for name, n in sizes.items() if n > FILE_MAX} == {}


def test_every_function_is_typed(trees: dict[str, ast.Module]) -> None:
    assert [name for name, function in functions(trees) if not is_typed(function)] == []


def test_every_public_name_is_documented(trees: dict[str, ast.Module]) -> None:
    assert undocumented(trees) == []


def test_no_modules_import_each_other_in_a_ring(trees: dict[str, ast.Module]) -> None:
    assert cycle(trees) == []


# The measures themselves, on code with a known answer.


def test_body_lines_leave_out_signature_and_docstring() -> None:
    docstring, body = '"""One.\n\n    Two."""', "b = (\n        a\n    )\n    return b"
    source = f"def f(\n    a,\n):\n    {docstring}\n    {body}\n"
    ((_, function),) = functions({"m": ast.parse(source)})
    assert body_lines(function) == 4


@pytest.mark.parametrize(
    ("signature", "typed"),
    [
        ("def f(a: int) -> int: ...", True),
        ("def f(self, *, a: int) -> None: ...", True),
        ("def f(a: int): ...", False),
        ("def f(a) -> int: ...", False),
        ("def f(*, a) -> int: ...", False),
        ("def f(**rest) -> int: ...", False),
    ],
)
def test_a_function_is_typed_when_every_argument_and_the_result_are(
    signature: str, typed: bool
) -> None:
    ((_, function),) = functions({"m": ast.parse(signature)})
    assert is_typed(function) is typed


def test_public_names_without_docstring_are_named() -> None:
    methods = "    def bare(self): ...\n    def _own(self): ...\n"
    source = f'class A:\n    """A."""\n{methods}class _B:\n{methods}def open_(): ...\n'
    assert undocumented({"m": ast.parse(source)}) == ["m:open_", "m:bare"]


def test_a_ring_closed_by_an_import_inside_a_function_is_found(tmp_path: Path) -> None:
    package = tmp_path / "toy"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("from toy import b\n")
    (package / "b.py").write_text("def late():\n    from toy.c import value\n")
    (package / "c.py").write_text("value = 1\n")
    assert cycle(parse(package)) == []
    (package / "c.py").write_text("import toy.a\nvalue = 1\n")
    assert set(cycle(parse(package))) == {"toy.a", "toy.b", "toy.c"}
