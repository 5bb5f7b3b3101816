"""B22: one process at a time has the right to run a unit, whoever dies."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from segduet.scale import claims
from segduet.scale.claims import claim_file, holder, try_claim
from segduet.scale.owner import Owner

_SLEEPER = (sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)")

#: Waits for the file `go`, then claims once; says whether it won, and stays alive until `stop`.
_RACER = """
import sys, time
from pathlib import Path
from segduet.scale.claims import try_claim
folder = Path(sys.argv[1])
print("ready", flush=True)
while not (folder / "go").exists():
    pass
print("won" if try_claim(folder, "unit") else "lost", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(_SLEEPER)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def dead_claim(folder: Path, number: int = 1) -> None:
    """A claim of a process that was killed."""
    with sleeper() as process:
        owner = Owner.of_process(process.pid)
    assert owner is not None
    write_claim(folder, owner, number)


def write_claim(folder: Path, owner: Owner, number: int = 1, **more: object) -> Path:
    file = claim_file(folder, "unit", number)
    content = {**owner.to_json(), "children": [], "is_released": False, **more}
    file.write_text(json.dumps(content))
    return file


def elsewhere() -> Owner:
    return Owner(host="node7", machine="another boot", pid=os.getpid(), start_ticks=1)


def test_a_claim_is_exclusive_until_it_is_released(tmp_path: Path) -> None:
    first = try_claim(tmp_path, "unit")
    assert first is not None
    assert try_claim(tmp_path, "unit") is None
    assert try_claim(tmp_path, "unit-2") is not None
    first.release()
    assert try_claim(tmp_path, "unit") is not None


def test_numbers_are_never_used_again(tmp_path: Path) -> None:
    """So a taker that read an old number finds it taken, or itself overtaken."""
    for expected in (1, 2, 3):
        claim = try_claim(tmp_path, "unit")
        assert claim is not None
        claim.release()
        assert [p.name for p in tmp_path.iterdir()] == [f"unit.claim-{expected}.json"]


def test_a_taker_that_slept_through_others_does_not_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It read number 1; meanwhile 2 and 3 came and went, so 2 can be created again."""
    dead_claim(tmp_path, 3)
    holder_now = try_claim(tmp_path, "unit")
    assert holder_now is not None
    real, answers = claims._numbers, iter([[1]])
    with monkeypatch.context() as patch:
        patch.setattr(claims, "_numbers", lambda *a: next(answers, None) or real(*a))
        patch.setattr(claims, "_is_free", lambda _: True)
        assert try_claim(tmp_path, "unit") is None
    assert holder_now.is_held
    assert not claim_file(tmp_path, "unit", 2).exists()


def test_of_many_processes_that_take_over_a_dead_claim_one_wins(tmp_path: Path) -> None:
    dead_claim(tmp_path)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        for racer in racers:
            assert racer.stdout.readline() == "ready\n"
        (tmp_path / "go").touch()
        answers = [racer.stdout.readline().strip() for racer in racers]
    finally:
        for racer in racers:
            racer.communicate(timeout=20)
    assert sorted(answers) == ["lost", "lost", "lost", "won"]


def test_of_many_threads_one_wins_again_and_again(tmp_path: Path) -> None:
    """Forty rounds of eight takers, each round over a claim that was released or is dead."""
    for round_number in range(40):
        barrier, won = threading.Barrier(8), []

        def race(barrier: threading.Barrier = barrier, won: list = won) -> None:
            barrier.wait()
            claim = try_claim(tmp_path, "unit")
            if claim is not None:
                won.append(claim)

        threads = [threading.Thread(target=race) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1, round_number
        won[0].release()


def test_a_claim_is_kept_while_a_process_that_works_for_it_lives(tmp_path: Path) -> None:
    """The runner is dead, its training is not yet: nobody may train beside it."""
    dead_claim(tmp_path)
    content = json.loads(claim_file(tmp_path, "unit", 1).read_text())
    with sleeper() as process:
        child = Owner.of_process(process.pid)
        assert child is not None
        content["children"] = [child.to_json()]
        claim_file(tmp_path, "unit", 1).write_text(json.dumps(content))
        assert try_claim(tmp_path, "unit") is None
    assert try_claim(tmp_path, "unit") is not None


def test_a_process_that_was_killed_but_not_waited_for_is_dead(tmp_path: Path) -> None:
    process = subprocess.Popen(_SLEEPER)
    owner = Owner.of_process(process.pid)
    assert owner is not None
    try:
        assert owner.is_running
        process.kill()
        deadline = time.monotonic() + 10
        while owner.is_running and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not owner.is_running
        assert process.returncode is None  # still a zombie
    finally:
        process.wait(10)


def test_a_process_id_that_was_given_again_is_another_process(tmp_path: Path) -> None:
    me = Owner.this_process()
    earlier = Owner(**{**me.to_json(), "start_ticks": me.start_ticks - 1})
    write_claim(tmp_path, earlier)
    assert try_claim(tmp_path, "unit") is not None


def test_another_machine_is_alive_while_it_touches_its_claim(tmp_path: Path) -> None:
    """Its process id means nothing here; what counts is the clock of the folder."""
    file = write_claim(tmp_path, elsewhere())
    assert try_claim(tmp_path, "unit") is None
    assert holder(tmp_path, "unit") == f"process {os.getpid()} of node7"
    long_ago = file.stat().st_mtime - claims.SILENT_S - 1
    os.utime(file, (long_ago, long_ago))
    assert holder(tmp_path, "unit") is None
    taken = try_claim(tmp_path, "unit")
    assert taken is not None
    assert taken.number == 2


def test_one_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    claim_file(tmp_path, "unit", 1).write_text('{"host": ')
    assert try_claim(tmp_path, "unit") is None


def test_who_was_overtaken_knows_it_and_releases_nothing(tmp_path: Path) -> None:
    first = try_claim(tmp_path, "unit")
    assert first is not None
    write_claim(tmp_path, elsewhere(), 2)
    assert not first.is_held
    first.keep_alive()
    first.release()
    assert try_claim(tmp_path, "unit") is None


def test_a_unit_whose_name_begins_alike_is_another(tmp_path: Path) -> None:
    assert try_claim(tmp_path, "train-a") is not None
    assert holder(tmp_path, "train-a") is not None
    assert holder(tmp_path, "train") is None
    assert holder(tmp_path, "train-a-b") is None
