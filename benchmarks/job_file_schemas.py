"""Do the engines' own readers take the job files? Kubernetes' schema, Polyaxon 2.18 and 0.5.6.

Usage: python benchmarks/job_file_schemas.py --envs DIR

DIR holds one environment for each reader, made with
    python -m venv DIR/kubernetes && DIR/kubernetes/bin/pip install kubernetes-validate==1.37.0
    python -m venv DIR/polyaxon   && DIR/polyaxon/bin/pip install polyaxon==2.18.0
    python -m venv DIR/polyaxon05 && DIR/polyaxon05/bin/pip install polyaxon-schemas==0.5.6 \
        "markupsafe<2.1"
Every file is also read once with a fault in it, which the reader must refuse: a reader that takes
everything proves nothing. Writes docs/results/job_file_schemas.json.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from results_file import write_result
from segduet.scale.rendering.containers import ContainerOptions, Volume
from segduet.scale.rendering.kubernetes import render_kubernetes
from segduet.scale.rendering.polyaxon import render_polyaxon
from segduet.scale.rendering.polyaxon05 import render_polyaxon05
from segduet.scale.submission import Submission
from segduet.scale.unit import Resources, WorkUnit

_KUBERNETES = """
import sys, yaml, kubernetes_validate
for job in yaml.safe_load_all(open(sys.argv[1])):
    for version in ("1.31", "1.37"):
        kubernetes_validate.validate(job, version, strict=True)
"""
_POLYAXON = """
import sys, yaml
from polyaxon._polyaxonfile import check_polyaxonfile
from polyaxon.polyaxonfile import OperationSpecification
operation = check_polyaxonfile(polyaxonfile=sys.argv[1], is_cli=False, to_op=True)
dag = operation.component.run
dag.process_dag(); dag.validate_dag()
"""
#: Polyaxon 0.5 was written for Python 2 and 3.4 to 3.7.
_POLYAXON05 = """
import collections, collections.abc, sys, yaml
for name in ("Mapping", "Iterable", "MutableMapping", "Callable"):
    setattr(collections, name, getattr(collections.abc, name))
from polyaxon_schemas import specs
kind = yaml.safe_load(open(sys.argv[1]))["kind"].title()
read = getattr(specs, kind + "Specification").read(sys.argv[1])
if kind == "Group":
    read.get_experiment_spec(matrix_declaration=read.matrix_declaration_test)
else:
    read.apply_context()
"""
_FAULTS = {
    "kubernetes": ("backoffLimit: 2", "backoffLimit: two"),
    "polyaxon": ("kind: job", "kind: jobs"),
    "polyaxon05": ("version: 1", "version: 1\nhptunings: 1"),
}


def main() -> None:
    """Renders, asks every reader twice, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--envs", type=Path, required=True)
    envs = parser.parse_args().envs
    figures = {
        "kubernetes": _read(_kubernetes(), envs / "kubernetes", _KUBERNETES, "kubernetes"),
        "polyaxon": _read(
            render_polyaxon(_submission(), _options()), envs / "polyaxon", _POLYAXON, "polyaxon"
        ),
        "polyaxon05": _read(
            render_polyaxon05(_submission(), _options(), concurrency=2),
            envs / "polyaxon05",
            _POLYAXON05,
            "polyaxon05",
        ),
    }
    passed = all(r["taken"] and r["fault_refused"] for f in figures.values() for r in f.values())
    target = write_result("job_file_schemas", seeds=[], figures={"passed": passed, **figures})
    print(f"written: {target}: passed {passed}: {figures}")


def _submission() -> Submission:
    gpu = Resources(cpus=4, gpus=1, memory_gb=32, hours=48)
    trainings = tuple(
        WorkUnit(name=f"train-f{k}", command=("info",), outputs=(Path(f"f{k}"),), resources=gpu)
        for k in range(5)
    )
    needs = tuple(unit.name for unit in trainings)
    predict = WorkUnit(name="predict", command=("info",), needs=needs, outputs=(Path("p"),))
    return Submission(name="study", study=Path("/data/STUDY.yaml"), units=(*trainings, predict))


def _options() -> ContainerOptions:
    return ContainerOptions(
        image="lab/segduet:1", volumes=(Volume.parse("studies=/data"),), namespace="lab"
    )


def _kubernetes() -> dict[str, str]:
    files = render_kubernetes(_submission(), _options())
    return {name: text for name, text in files.items() if name.endswith(".yaml")}


def _read(
    files: Mapping[str, str], env: Path, reader: str, engine: str
) -> dict[str, dict[str, bool]]:
    sound, fault = _FAULTS[engine]
    answers = {}
    for name, text in files.items():
        assert sound in text, (name, sound)
        answers[name] = {
            "taken": _is_taken(text, name, env, reader),
            "fault_refused": not _is_taken(text.replace(sound, fault, 1), name, env, reader),
        }
    return answers


def _is_taken(text: str, name: str, env: Path, reader: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_text(text)
        command = [env / "bin" / "python", "-c", reader, file]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if ended.returncode:
        print(f"{name}: {ended.stderr.strip().splitlines()[-1]}")
    return ended.returncode == 0


if __name__ == "__main__":
    main()
