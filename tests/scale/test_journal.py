"""B22: the journal keeps whole lines, whoever writes at the same time."""

import threading
from pathlib import Path

from segduet.core.files import read_json_lines
from segduet.scale.journal import Happening, append_to_journal


def test_lines_of_many_writers_stay_whole(tmp_path: Path) -> None:
    file = tmp_path / "study" / "journal.jsonl"

    def write(name: str) -> None:
        for _ in range(50):
            append_to_journal(file, name, Happening.FAILED, reason="ü" * 200)

    threads = [threading.Thread(target=write, args=(f"u{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = read_json_lines(file)
    assert len(entries) == 200
    assert {entry["happening"] for entry in entries} == {"failed"}
    assert {entry["reason"] for entry in entries} == {"ü" * 200}
