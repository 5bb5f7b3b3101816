"""A study's state on disk: claims, markers, logs and the journal, shared by all that run it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from segduet.scale.claims import Claim, holder, try_claim
from segduet.scale.journal import Happening, append_to_journal
from segduet.scale.markers import Markers
from segduet.scale.study import Study
from segduet.scale.unit import WorkUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyState:
    """Where runners of a study meet.

    Attributes:
        folder: the study's output folder.
        work_folder: where commands run; relative paths among their settings start here.
    """

    folder: Path
    work_folder: Path

    @classmethod
    def of(cls, study: Study) -> Self:
        """The state of a study, whether or not it was ever run."""
        return cls(folder=study.out_folder, work_folder=study.source.parent)

    @property
    def markers(self) -> Markers:
        """Which units are done or failed."""
        return Markers(self.folder / "units", self.work_folder)

    def try_claim(self, unit: WorkUnit) -> Claim | None:
        """The right to run a unit; None where another process has it."""
        return try_claim(self.folder / "units", unit.name)

    def holder(self, unit: WorkUnit) -> str | None:
        """Who runs a unit, in words."""
        return holder(self.folder / "units", unit.name)

    def log(self, unit: WorkUnit) -> Path:
        """Where a unit's command writes."""
        return self.folder / "logs" / f"{unit.name}.log"

    @property
    def journal(self) -> Path:
        """What happened, one line each."""
        return self.folder / "journal.jsonl"

    def note(self, unit: WorkUnit, happening: Happening, reason: str = "") -> None:
        """Adds to the journal."""
        append_to_journal(self.journal, unit.name, happening, reason=reason)
