"""Issue 5: what share of small faults in the metric kernels do their tests notice?

Usage: python benchmarks/mutation_score.py --work DIR [--quick MODULE] [--processes N]

mutmut changes every function of `src/segduet/metrics/` in one place at a time (an operator, a
number, an argument, a text) and runs the tests of `tests/metrics/` that reach it, in a throw-away
copy of the tree below DIR. Every mutant counts, those that cannot change a result too. The stored
values of other tools must be at hand (SEGDUET_SHARED_DATA, or ../shared/data).

Bar (issue 5): 85 %. Writes docs/results/mutation_score.json; --quick runs one module, such as
`surface`, prints its survivors and writes nothing but DIR.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results_file import REPOSITORY, write_result

BAR = 0.85
#: A mutant that never ends is noticed too: the suite does not pass.
_NOTICED = ("killed", "timeout")
#: What the tests of the kernels read.
_COPIED = ("src", "tests/conftest.py", "tests/support", "tests/metrics", "docs/guide")
#: Why a mutant was not noticed, by what it takes away; it counts as a survivor all the same.
_WHY = {
    r"leafsize=": "how the tree is built changes the time it takes, not what it answers",
    r"union_box\(": "the whole array instead of the box: slower, the same numbers",
    r"argsort\(": "sums over cases of equal value do not depend on their order",
    r"prepend=-np.inf": "either infinity differs from every finite value",
    r"num_columns = ": "pairs keep apart with more columns than needed",
    r"side=\"left\"": "the default",
    r"nan_to_num\(": "0 is the default, or the figure is multiplied by 0",
    r"np.where\(has_neighbours": "what is put there counts 0 times",
    r"astype\(np.float64\)": "numbers become float64 in the product too",
    r"reference.size else 0.0": "without cases there is nothing to take it from",
    r"> _NO_SPREAD": "equal only where both are 0",
    r"not recall or not precision": "neither is 0 without the other",
    r"keepdims=True\) > 0": "a case counts twice in this sum",
    r"confusion.shape\[-1\]": "the matrix is square",
    r"DeclaredMetric\(": "runs at import, before a mutant can be switched on",
}
_MUTANT = re.compile(r"\s+segduet\.metrics\.(?P<module>\w+)\.(?P<mutant>\S+): (?P<status>.+)")


def main() -> None:
    """Copies the tree, runs mutmut and writes the score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="a folder that may be emptied")
    parser.add_argument("--quick", metavar="MODULE", help="one module, no result")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    tree = arguments.work / "tree"
    _copy_tree(tree, arguments.quick or "*")
    _mutmut(tree, "run", "--max-children", str(arguments.processes))
    figures = _figures(tree)
    for survivor in figures["survivors"]:
        print(survivor["mutant"], *survivor["change"], survivor["why"], sep="\n    ")
    print({name: figures[name] for name in ("score", "modules")})
    if not arguments.quick:
        print(write_result("mutation_score", seeds=(), figures=figures))


def _copy_tree(tree: Path, module: str) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in _COPIED:
        source, target = REPOSITORY / name, tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=ignored)
        else:
            shutil.copy2(source, target)
    shutil.copy2(REPOSITORY / "pyproject.toml", tree)
    (tree / "setup.cfg").write_text(
        "[mutmut]\n"
        "source_paths=src\n"
        f"only_mutate=src/segduet/metrics/{module}.py\n"
        "also_copy=docs\n"
        "pytest_add_cli_args_test_selection=tests/metrics\n"
        "pytest_add_cli_args=-pno:cacheprovider\n",
        encoding="utf-8",
    )


def _mutmut(tree: Path, *arguments: str) -> str:
    """Runs mutmut in the copy; what it printed."""
    data = os.environ.get("SEGDUET_SHARED_DATA") or str(REPOSITORY.parent / "shared" / "data")
    if not (Path(data) / "golden_metrics").is_dir():
        sys.exit(f"error: no golden_metrics below {data}; set SEGDUET_SHARED_DATA")
    environment = {**os.environ, "SEGDUET_SHARED_DATA": data, "OMP_NUM_THREADS": "1"}
    program = Path(sys.executable).with_name("mutmut")
    done = subprocess.run(
        [str(program), *arguments],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"error: mutmut {' '.join(arguments)}\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    return done.stdout


def _figures(tree: Path) -> dict[str, Any]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    survivors = []
    for found in _MUTANT.finditer(_mutmut(tree, "results", "--all", "true")):
        module, mutant, status = found["module"], found["mutant"], found["status"]
        counts[module][status] += 1
        if status not in _NOTICED:
            name = f"segduet.metrics.{module}.{mutant}"
            change = _change(_mutmut(tree, "show", name))
            survivor = {"mutant": name, "status": status, "change": change}
            survivors.append({**survivor, "why": _why(change)})
    total = sum(counts.values(), Counter[str]())
    score = _score(total)
    return {
        "score": {**score, "bar": BAR, "passed": score["value"] >= BAR},
        "modules": {module: _score(of) for module, of in sorted(counts.items())},
        "statuses": dict(total),
        "survivors": survivors,
    }


def _score(statuses: Mapping[str, int]) -> dict[str, Any]:
    number = sum(statuses.values())
    noticed = sum(statuses.get(status, 0) for status in _NOTICED)
    return {"value": round(noticed / number, 4), "n": number, "noticed": noticed}


def _why(change: Sequence[str]) -> str | None:
    """Why the mutant was not noticed; None if a test should have."""
    reasons = (reason for what, reason in _WHY.items() if re.search(what, change[0]))
    return next(reasons, None)


def _change(shown: str) -> Sequence[str]:
    """The lines that a mutant takes away and puts in their place."""
    lines = shown.splitlines()
    return [
        f"{x[0]} {x[1:].strip()}" for x in lines if x[:1] in "+-" and x[:3] not in ("+++", "---")
    ]


if __name__ == "__main__":
    main()
