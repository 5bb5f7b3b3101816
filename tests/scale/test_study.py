"""B22, B23: what a study file may say, and how it is refused."""

import datetime
import json
import re
from pathlib import Path

import pytest

from segduet.core.errors import DataError, RequestError, SegduetError
from segduet.core.files import write_json
from segduet.scale.study import Study, load_study
from segduet.scale.unit import Resources
from segduet.training.recipe_keys import model_keys
from tiny_studies import write_study


def test_defaults_stand_for_what_is_not_said(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path))
    assert (study.seeds, study.recipes, study.folds) == ((0,), ("default",), (0,))
    assert study.out_folder == tmp_path / "tiny"
    assert study.root.raw == tmp_path / "segduet-data" / "nnUNet_raw"
    assert study.resources.train.resources() == Resources()
    assert dict(study.all_arms) == {"baseline": {}}


def test_paths_start_at_the_files_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study means the same from wherever it is run."""
    write_study(tmp_path, out="../elsewhere")
    monkeypatch.chdir(tmp_path)
    study = load_study(Path("STUDY.yaml"))
    assert study.out_folder == tmp_path / "../elsewhere"
    assert study.resolved("/absolute") == Path("/absolute")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"reciped": ["default"]}, ("STUDY.yaml, reciped", "perhaps recipes")),
        ({"predict": {"inputs": "x", "shard": 2}}, ("predict.shard", "perhaps predict.shards")),
        ({"resources": {"train": {"gpu": 1}}}, ("resources.train.gpu", "resources.train.gpus")),
        ({"folds": [0, 0]}, ("folds", "each of them once")),
        ({"folds": []}, ("folds", "at least 1")),
        ({"name": "No Spaces"}, ("name", "No Spaces")),
        ({"arms": {"baseline": {"epochs": 3}}}, ("always there",)),
        ({"arms": {"idle": {}}}, ("'idle' is the baseline again",)),
        ({"set": {"name": datetime.date(2026, 1, 1)}}, ("set.name", "JSON")),
        ({"set": {"seed": 3}}, ("under `seeds`",)),
        ({"seeds": [0, -1]}, ("seeds", "-1", "greater than or equal to 0")),
        ({"evaluate": {}}, ("`predict` beside `evaluate`",)),
        ({"resources": {"train": {"cpus": 0}}}, ("resources.train.cpus", "greater than 0")),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(
    tmp_path: Path, settings: dict, words: tuple[str, ...]
) -> None:
    with pytest.raises(DataError) as error:
        load_study(write_study(tmp_path, **settings))
    assert [word for word in words if word not in str(error.value)] == []


@pytest.mark.parametrize("text", ["[1, 2]", "name: [", "a: 1\na: 2", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "STUDY.yaml"
    file.write_text(text)
    with pytest.raises(RequestError, match=r"study .*STUDY\.yaml"):
        load_study(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SegduetError, match="No such file"):
        load_study(tmp_path / "STUDY.yaml")


def test_the_published_schema_is_the_one_in_use(repository: Path, tmp_path: Path) -> None:
    """B23: an editor that knows the schema refuses what `segduet run` refuses."""
    published = repository / "docs" / "reference" / "study-schema.json"
    write_json(tmp_path / "now.json", Study.model_json_schema())
    assert json.loads(published.read_text()) == json.loads((tmp_path / "now.json").read_text())


def test_the_guide_lists_every_key(repository: Path) -> None:
    """The message of an unknown key sends the user there."""
    page = (repository / "docs" / "guide" / "studies.md").read_text(encoding="utf-8")
    keys = [key for key in model_keys(Study) if not key.startswith("search.")]
    assert len(keys) > 30
    shown = {key: key.rpartition(".")[2] if key.count(".") == 2 else key for key in keys}
    assert [key for key, text in shown.items() if not re.search(rf"`{text}[`.:]", page)] == []
