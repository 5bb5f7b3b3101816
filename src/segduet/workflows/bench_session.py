"""The rounds of a benchmark: which process when, and what it leaves (F85)."""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segduet.core.description import validated
from segduet.core.files import read_json, write_json
from segduet.evaluation.bench_figures import BETWEEN_ARMS
from segduet.evaluation.bench_record import Measure, Sample
from segduet.evaluation.output_agreement import Agreement
from segduet.evaluation.paired_timing import ArmName, abba_order
from segduet.inference.case_input import CaseInput
from segduet.io.names import image_name
from segduet.io.pictures import TIFF_ENDINGS, tiff_spacing_file
from segduet.workflows.bench_arms import Arm, ArmKind, stock_settings
from segduet.workflows.bench_outputs import Outputs, compare_outputs
from segduet.workflows.bench_process import ProcessSample, run_fresh
from segduet.workflows.bench_warm import WarmCase, WarmSpec, WarmTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRequest:
    """What to compare, on what, and how often.

    Attributes:
        model: the candidate's model.
        inputs: one folder of images, or image files.
        against: `nnunet` for stock nnU-Net on the same model folder, `nnunet:FOLDER` on another
            (that a bundle was made of), `same` for the same model with other options, or another
            model.
        options: the candidate's, `NAME=VALUE` as of `segduet predict`.
        baseline_options: the baseline's; it takes over the candidate's where it has none.
        rounds: measured, one sample of each arm and measure in each.
        warm_up: rounds before them that are recorded and left out.
        measures: cold, warm or both.
        passes: how often a warm process predicts all cases.
        max_cases: use the first so many cases; None for all.
        seed: of the order and of all resampling.
    """

    model: Path
    inputs: Sequence[Path]
    out: Path
    against: str = "nnunet"
    options: Sequence[str] = ()
    baseline_options: Sequence[str] = ()
    rounds: int = 10
    warm_up: int = 1
    measures: tuple[Measure, ...] = ("cold", "warm")
    passes: int = 3
    max_cases: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One benchmark while it runs.

    Attributes:
        arms: both sides.
        cases: as `staged_cases` made them, in `images` of the folder.
        ending: of images and label maps.
        work: folder for everything that is thrown away afterwards.
    """

    request: BenchRequest
    arms: dict[ArmName, Arm]
    cases: tuple[CaseInput, ...]
    ending: str
    work: Path

    def measure(self, on_sample: Callable[[str, float], None]) -> list[Sample]:
        """All samples, warm-up first."""
        total = (self.request.warm_up + self.request.rounds) * 2 * len(self.request.measures)
        samples: list[Sample] = []
        for number, arms in self.rounds():
            for measure in self.request.measures:
                for arm in arms:
                    on_sample(f"bench: round {number + 1}, {arm}, {measure}", len(samples) / total)
                    samples.append(self._sample(number, arm, measure))
        on_sample("bench: done", 1.0)
        return samples

    def rounds(self) -> list[tuple[int, tuple[ArmName, ArmName]]]:
        """Number of every round, negative for warm-up, and which arm goes first."""
        first = (ArmName.CANDIDATE, ArmName.BASELINE)
        warm_up = [(number, first) for number in range(-self.request.warm_up, 0)]
        order = abba_order(self.request.rounds, seed=self.request.seed)
        return [*warm_up, *enumerate(order)]

    def agreement(self) -> dict[str, Agreement]:
        """Outputs of the first measured round: between the arms, and of each arm warm and cold."""
        measures = self.request.measures
        pairs = {BETWEEN_ARMS: ((ArmName.CANDIDATE, measures[0]), (ArmName.BASELINE, measures[0]))}
        if len(measures) > 1:
            pairs |= {str(arm): ((arm, measures[0]), (arm, measures[1])) for arm in ArmName}
        names = [case.case for case in self.cases]
        return {
            name: compare_outputs(
                self._outputs(*first), self._outputs(*second), names, seed=self.request.seed
            )
            for name, (first, second) in pairs.items()
        }

    def _outputs(self, arm: ArmName, measure: Measure) -> Outputs:
        return Outputs(folder=self._answers(0, arm, measure), ending=self.ending)

    def _answers(self, number: int, arm: ArmName, measure: Measure) -> Path:
        """Folder of a sample's answers."""
        return self.work / f"{number}-{arm}-{measure}" / "answers"

    def _sample(self, number: int, name: ArmName, measure: Measure) -> Sample:
        arm, out = self.arms[name], self._answers(number, name, measure)
        out.mkdir(parents=True)
        folder, who = out.parent, f"the {name} ({measure})"
        times = folder / "warm.json"
        if measure == "cold":
            command = arm.command(self.work / "images", out)
        else:
            command = self._warm_command(arm, folder, out, times)
        taken = run_fresh(command, folder, cores=arm.cores, who=who)
        phases = self._phases(times, taken.started) if measure == "warm" else {}
        if number != 0:
            shutil.rmtree(folder)
        return _as_sample(taken, number, name, measure, phases)

    def _warm_command(self, arm: Arm, folder: Path, out: Path, times: Path) -> list[str]:
        is_stock = arm.kind is ArmKind.NNUNET
        spec = WarmSpec(
            model=arm.model,
            stock=stock_settings(arm) if is_stock else None,
            options=dict(arm.options),
            cases=tuple(
                WarmCase(case=c.case, files=c.image_paths, target=out / f"{c.case}{self.ending}")
                for c in self.cases
            ),
            passes=self.request.passes,
            result=times,
        )
        write_json(folder / "warm-spec.json", spec.model_dump(mode="json"))
        module = "segduet.workflows.bench_warm"
        return [sys.executable, "-m", module, str(folder / "warm-spec.json")]

    def _phases(self, times: Path, started: float) -> dict[str, float]:
        """See `Sample.phases`."""
        warm = validated(WarmTimes, read_json(times), where=str(times))
        steady = warm.cases[len(self.cases) :]
        names = {name: None for case in steady for name in case if name != "total"}
        mean = {n: sum(case.get(n, 0.0) for case in steady) / len(steady) for n in names}
        total = sum(case["total"] for case in steady) / len(steady)
        return {
            "load": warm.ready - started,
            "first_case": warm.cases[0]["total"],
            "steady_case": total,
            **{f"steady_{name}": seconds for name, seconds in mean.items()},
        }


def _as_sample(
    taken: ProcessSample,
    number: int,
    name: ArmName,
    measure: Measure,
    phases: dict[str, float],
) -> Sample:
    return Sample(
        round=number,
        arm=name,
        measure=measure,
        wall_s=taken.wall_s,
        user_s=taken.user_s,
        system_s=taken.system_s,
        peak_rss_mb=taken.peak_rss_mb,
        other_cpu_share=_share(taken.other_cpu_s, taken.wall_s),
        steal_share=_share(taken.steal_s, taken.wall_s),
        phases=phases,
    )


def _share(seconds: float | None, wall_s: float) -> float | None:
    """Of the time of all cores of the machine."""
    return None if seconds is None else seconds / (wall_s * (os.cpu_count() or 1))


def staged_cases(cases: Sequence[CaseInput], images: Path, ending: str) -> tuple[CaseInput, ...]:
    """The cases under nnU-Net's names in a folder of links, the same for both arms.

    Args:
        cases: as found.
        images: folder to make.
        ending: of the images.
    """
    images.mkdir()
    staged = []
    for case in cases:
        links = [images / image_name(case.case, i, ending) for i in range(len(case.image_paths))]
        for link, path in zip(links, case.image_paths, strict=True):
            link.symlink_to(path.resolve())
        spacing = tiff_spacing_file(case.image_paths[0]) if ending in TIFF_ENDINGS else None
        if spacing is not None:
            (images / f"{case.case}.json").symlink_to(spacing.resolve())
        staged.append(CaseInput(case=case.case, image_paths=tuple(links)))
    return tuple(staged)
