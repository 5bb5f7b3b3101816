"""How far a prediction is, seen from outside: by the files that its shards write."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from segduet.inference.progress import ALL_PROGRESS_FILES


class ProgressWatch:
    """Reads on in the progress files of a folder, each line once.

    Args:
        folder: of the answers.
        cases: those that count.

    Attributes:
        num_done: cases that were answered, or failed since the watch began.
    """

    def __init__(self, folder: Path, cases: Iterable[str]) -> None:
        self._folder = folder
        self._cases = frozenset(cases)
        self._offsets: dict[Path, int] = {}
        answered = {case for case, is_ok in self._lines() if is_ok}  # what failed is tried again
        self._done = answered & self._cases

    @property
    def num_done(self) -> int:
        """Each case once."""
        return len(self._done)

    def new_cases(self) -> Iterator[str]:
        """Cases written down since the last look; `num_done` counts each as it is yielded."""
        for case, _ in self._lines():
            if case in self._cases - self._done:
                self._done.add(case)
                yield case

    def _lines(self) -> Iterator[tuple[str, bool]]:
        """Case and whether it was answered."""
        for file in sorted(self._folder.glob(ALL_PROGRESS_FILES)):
            with file.open("rb") as stream:
                is_at_start = stream.seek(self._offsets.get(file, 0)) == 0
                lines = stream.read().splitlines(keepends=True)
            whole = [line for line in lines if line.endswith(b"\n")]
            self._offsets[file] = self._offsets.get(file, 0) + sum(map(len, whole))
            for line in whole[1:] if is_at_start else whole:
                row = json.loads(line)["row"]
                yield row["case"], row["status"] == "ok"
