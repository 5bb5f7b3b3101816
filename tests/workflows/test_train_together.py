"""Issue 6, item 2: `segduet train` started twice, as torchrun starts it, leaves what one leaves."""

import json

import pytest

import shared_trainings as work
from two_processes import start


@pytest.fixture(scope="module")
def trained(road, tiny_training, tmp_path_factory):
    """A copy of the road on which two processes have trained anew; their code, output and error."""
    mine = road.copy(tmp_path_factory.mktemp("together") / "road")
    command = ("train", "tiny", *tiny_training, "--data-root", str(mine.data), "--overwrite")
    return mine, command, [answer for answer, _ in start(work.segduet, *command)]


def _losses(folder):
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [value for record in records for value in record["train"].values()]


def test_two_processes_leave_the_files_of_one(road, trained):
    mine, _, _ = trained
    for part in ("", "validation"):
        left, expected = (
            {path.name for path in (made.run / part).iterdir() if path.name != "tensorboard"}
            for made in (mine, road)
        )
        assert left == expected
    losses, expected = _losses(mine.run), _losses(road.run)
    assert losses[:3] == pytest.approx(expected[:3], abs=1e-5)
    # AdamW makes steps of the rounding noise in gradients that should be 0 (biases before a norm)
    assert losses == pytest.approx(expected, abs=1e-3)
    runs = [json.loads((made.run / "run.json").read_text()) for made in (mine, road)]
    assert [run["processes"] for run in runs] == [2, 1]


def test_two_processes_share_out_the_validation_of_one(road, trained):
    """The rows stand in the same order, and the figures are the same but for rounding."""
    mine, _, _ = trained
    for name in ("predictions.csv", "scores.csv"):
        tables = [
            [row.split(",") for row in (made.run / "validation" / name).read_text().splitlines()]
            for made in (mine, road)
        ]
        assert [row[0] for row in tables[0]] == [row[0] for row in tables[1]]
        assert tables[0][0] == tables[1][0]
    summaries = [
        json.loads((made.run / "validation" / "summary.json").read_text()) for made in (mine, road)
    ]
    dsc = [s["segmentation"]["mean_foreground"]["dsc"]["mean"] for s in summaries]
    assert dsc[0] == pytest.approx(dsc[1], abs=1e-3)


def test_only_the_first_process_speaks(trained):
    _, _, ((code, out, _), second) = trained
    assert code == 0
    assert "model in" in out
    assert second[:2] == (0, "")


def test_a_batch_that_cannot_be_shared_is_one_message(trained):
    mine, command, _ = trained
    before = {path: path.stat().st_mtime_ns for path in mine.run.rglob("*")}
    for code, out, error in [
        answer for answer, _ in start(work.segduet, *command, "--set", "batch_size=3")
    ]:
        assert (code, out) == (2, "")
        assert error.startswith("error: training over 2 processes: found a batch of 3; expected")
        assert error.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in mine.run.rglob("*")} == before
