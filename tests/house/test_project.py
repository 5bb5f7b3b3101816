"""What a stranger finds: dependencies, documents that tell the truth, no data of patients."""

import hashlib
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from segduet import __version__

#: Images, volumes and weights are generated or fetched, never committed.
REFUSED_ENDINGS = (
    ".nii", ".nii.gz", ".nrrd", ".mha", ".dcm", ".mat", ".b2nd", ".pkl",
    ".pth", ".pt", ".ckpt", ".safetensors", ".onnx",
)  # fmt: skip
LARGEST_FILE_BYTES = 1_000_000


def requirement_name(requirement: str) -> str:
    """Name of a requirement line: letters before any version, extra or marker."""
    name = re.match(r"[A-Za-z0-9_.-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name.group()).lower()


@pytest.fixture(scope="module")
def project(repository: Path) -> dict:
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def committed(repository: Path) -> list[Path]:
    """Files that git tracks, or would if everything here were added now."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository, capture_output=True, text=True, check=True,
    )  # fmt: skip
    paths = [repository / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_the_core_install_is_small_and_has_no_torch(project: dict) -> None:
    """B12: at most 16 direct dependencies, none of which is PyTorch or nnU-Net."""
    names = {requirement_name(line) for line in project["dependencies"]}
    assert len(names) <= 16
    assert names.isdisjoint({"torch", "torchvision", "nnunetv2", "batchgeneratorsv2"})


def test_constraints_pin_every_dependency_exactly_and_name_no_host(
    repository: Path, project: dict
) -> None:
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["train"], *extras["dev"]]
    lines = (repository / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    missing = {requirement_name(r) for r in wanted} - {requirement_name(p) for p in pins}
    assert missing == set()


def test_no_images_weights_or_large_files_are_committed(committed: list[Path]) -> None:
    assert len(committed) > 10
    assert [p.name for p in committed if p.name.lower().endswith(REFUSED_ENDINGS)] == []
    assert [p.name for p in committed if p.stat().st_size > LARGEST_FILE_BYTES] == []


def test_no_committed_file_is_one_of_the_real_images(committed: list[Path], shared_data) -> None:
    """Equal bytes are looked for among files of equal size, so little is read."""
    folders = [shared_data(name) for name in ("acdc", "acdc_small", "busi_256", "hippocampus")]
    by_size: dict[int, list[Path]] = {}
    for path in (p for folder in folders for p in folder.rglob("*") if p.is_file()):
        by_size.setdefault(path.stat().st_size, []).append(path)

    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    copies = [
        ours.name
        for ours in committed
        if (theirs := by_size.get(ours.stat().st_size))
        and digest(ours) in {digest(path) for path in theirs}
    ]
    assert copies == []


def test_the_readme_names_the_two_commands(repository: Path) -> None:
    readme = (repository / "README.md").read_text(encoding="utf-8")
    assert "make demo" in readme
    assert "make test" in readme


def test_changelog_and_citation_know_the_current_version(repository: Path, project: dict) -> None:
    assert project["version"] == __version__
    changelog = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{__version__}]" in changelog
    citation = (repository / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in citation


@pytest.fixture(scope="module")
def architecture(repository: Path) -> str:
    return (repository / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_architecture_is_short(architecture: str) -> None:
    assert len(architecture.splitlines()) <= 120


def test_architecture_mentions_every_package(repository: Path, architecture: str) -> None:
    package = repository / "src" / "segduet"
    names = [p.parent.name for p in package.glob("*/__init__.py")]
    assert "core" in names
    assert [name for name in names if f"`{name}/`" not in architecture] == []


def test_everything_architecture_mentions_exists(repository: Path, architecture: str) -> None:
    """Paths in backticks, from the repository or from src/segduet; names as `module.py:Name`."""
    roots = (repository, repository / "src" / "segduet")
    mentioned = re.findall(r"`([\w./-]+/|[\w./-]+\.\w+)(?::(\w+))?`", architecture)
    paths = {path for path, _ in mentioned}
    assert len(paths) > 20
    assert {p for p in paths if not any((root / p).exists() for root in roots)} == set()
    for path, name in ((path, name) for path, name in mentioned if name):
        source = (repository / "src" / "segduet" / path).read_text(encoding="utf-8")
        assert re.search(rf"^(class |def )?{name}\b", source, re.MULTILINE), (path, name)


def test_decisions_are_short(repository: Path) -> None:
    records = sorted((repository / "docs" / "adr").glob("[0-9]*.md"))
    assert len(records) >= 4
    assert {p.name for p in records if len(p.read_text().splitlines()) > 40} == set()
