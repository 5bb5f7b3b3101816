"""`segduet export --precision int8`: quantised, judged on held cases, and refused if it loses."""

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from segduet.compression.calibration import (
    CalibrationSettings,
    CalibrationWindow,
    calibration_windows,
)
from segduet.core.files import write_json
from segduet.core.folders import DataRoot
from segduet.core.runtime import RuntimeFormat
from segduet.evaluation.gate_report import FloatParts, GateBounds, GateReport
from segduet.inference.bundles.manifest import BundleMember
from segduet.inference.bundles.opening import Bundle, open_bundle_folder
from segduet.inference.bundles.writing import BundleExtras, write_bundle_folder
from segduet.workflows.calibration_cases import CalibrationCases, find_calibration_cases
from segduet.workflows.compression_gate import require_passed, run_gate
from segduet.workflows.conversion import convert_model
from segduet.workflows.int8_rehearsal import (
    LEAST_FLOAT_FIRST,
    Rehearsal,
    chosen_parts,
    wanted_agreement,
)
from segduet.workflows.load_request import LoadRequest
from segduet.workflows.loading import LoadedModel, load_model
from segduet.workflows.models import ModelFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Request:
    """How a model is quantised and judged.

    Attributes:
        calibration: folder of images, raw dataset folder, or a dataset's name.
        root: where datasets are.
        bounds: what may be lost.
        sampling: how many cases and windows calibrate.
        report_file: where the gate's report is written, whatever it says; None for nowhere.
    """

    calibration: str
    root: DataRoot
    bounds: GateBounds = field(default_factory=GateBounds)
    sampling: CalibrationSettings = field(default_factory=CalibrationSettings)
    report_file: Path | None = None


def write_int8_bundle(
    folder: ModelFolder,
    target: Path,
    request: Int8Request,
    *,
    extras: BundleExtras,
    say: Callable[[str], None],
) -> GateReport:
    """Writes a bundle of 8-bit networks with the report of the gate that they passed.

    How much stays in float is chosen on the cases that calibrate, see `int8_rehearsal`. The
    original answers in fp32 on the same engine; neither averages over mirrored windows, which would
    hide differences.

    Args:
        folder: the model; no second stage of a cascade.
        target: an empty folder, to be thrown away on an error.
        request: how.
        extras: what else stands in the bundle.
        say: told what takes long.

    Raises:
        RequestError: the networks cannot be quantised, there are too few cases, or the 8-bit
            networks lose more than the bounds allow.
        DataError: damaged weights, or images that cannot be read or do not fit the model.
        StorageError: it could not be written.
    """
    with tempfile.TemporaryDirectory(prefix="segduet-int8-") as temporary:
        exact, cache = Path(temporary) / "fp32", Path(temporary) / "cache"
        exact.mkdir()
        say("int8: converting")
        convert_model(
            folder, RuntimeFormat.OPENVINO, exact, dataclasses.replace(extras, coarse=None)
        )
        with _loaded(exact, "fp32", cache) as reference:
            cases = find_calibration_cases(
                reference.model,
                request.calibration,
                request.root,
                folds=tuple(folder.fold_files),
                settings=request.sampling,
            )
            quantiser = _Quantiser.of(
                exact, cases, request.sampling, dataclasses.replace(extras, coarse=None), say
            )
            rehearsal = Rehearsal(cases=cases, original=reference)
            wanted = wanted_agreement(request.bounds.min_dice)
            tried = _tried(quantiser, rehearsal, Path(temporary), wanted)
            chosen = chosen_parts(tried, wanted)
            made = _folder(Path(temporary), chosen.ends_in_float)
            with _loaded(made, "int8", cache) as candidate:
                report = run_gate(
                    reference.predict,
                    candidate.predict,
                    cases.held(),
                    model=reference.model,
                    bounds=request.bounds,
                    say=say,
                )
            shutil.copytree(made, target, dirs_exist_ok=True)
    report = report.model_copy(update={"float_parts": chosen, "tried": tuple(tried)})
    plain = report.model_dump(mode="json")
    if request.report_file is not None:
        write_json(request.report_file, plain)
    require_passed(report, consequence="Nothing was exported.")
    members = open_bundle_folder(target, verify=False).members
    quantiser.write_bundle(target, members, dataclasses.replace(extras, gate=plain))
    return report


@contextlib.contextmanager
def _loaded(bundle: Path, precision: Literal["fp32", "int8"], cache: Path) -> Iterator[LoadedModel]:
    loaded = load_model(
        LoadRequest(
            model=bundle,
            engine="openvino",
            device="cpu",
            precision=precision,
            cache=cache,
            mirrored=False,
        )
    )
    try:
        yield loaded
    finally:
        for member in loaded.members:
            member.engine.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quantiser:
    """Makes 8-bit bundles of one model.

    Attributes:
        original: the model in fp32.
        windows: what it is calibrated with.
        extras: what else stands in the bundle.
        say: told what takes long.
    """

    original: Bundle
    windows: Sequence[CalibrationWindow]
    extras: BundleExtras
    say: Callable[[str], None]

    @classmethod
    def of(
        cls,
        exact: Path,
        cases: CalibrationCases,
        sampling: CalibrationSettings,
        extras: BundleExtras,
        say: Callable[[str], None],
    ) -> Self:
        """Cuts the windows."""
        say(f"int8: {len(cases.choice.calibration)} cases to calibrate with")
        original = open_bundle_folder(exact, verify=False)
        patch_zyx = original.configuration.patch_size_zyx
        windows = calibration_windows(cases.to_calibrate(), patch_zyx=patch_zyx, settings=sampling)
        return cls(original=original, windows=list(windows), extras=extras, say=say)

    def write(self, target: Path, ends_in_float: int) -> None:
        """Writes a bundle into a folder.

        Raises:
            NothingToQuantiseError: everything would stay in float.
            RequestError: too few windows, or a network that cannot be quantised.
        """
        from segduet.compression.quantisation import QuantisationSettings, quantise

        members = []
        for member in self.original.members:
            self.say(f"int8: quantising {member.name}, {ends_in_float} in float at both ends")
            network = quantise(
                self.original.member_folder(member),
                member.network,
                self.windows,
                target / member.folder,
                settings=QuantisationSettings(ends_in_float=ends_in_float),
            )
            members.append(member.model_copy(update={"network": network}))
        self.write_bundle(target, members, self.extras)

    def write_bundle(
        self, target: Path, members: Sequence[BundleMember], extras: BundleExtras
    ) -> None:
        """Writes what makes a bundle of a folder with networks."""
        write_bundle_folder(
            target,
            plan=self.original.plan,
            description=self.original.description,
            configuration_name=self.original.manifest.configuration,
            mirror_axes=self.original.mirror_axes,
            members=members,
            source=self.original.manifest.source,
            extras=extras,
        )


def _tried(
    quantiser: _Quantiser, rehearsal: Rehearsal, temporary: Path, wanted: float
) -> list[FloatParts]:
    """More and more in float, until the masks agree as wanted or nothing is left to quantise."""
    from segduet.compression.quantisation import NothingToQuantiseError

    tried: list[FloatParts] = []
    for ends_in_float in LEAST_FLOAT_FIRST:
        made = _folder(temporary, ends_in_float)
        try:
            quantiser.write(made, ends_in_float)
        except NothingToQuantiseError:
            if not tried:
                raise
            break  # a small network, of which these ends are all there is
        with _loaded(made, "int8", temporary / "cache") as candidate:
            tried.append(rehearsal.try_out(candidate, ends_in_float))
        if tried[-1].has_dice:
            dice = tried[-1].lowest_dice
            quantiser.say(f"int8: Dice {dice:.4f} of the cases it is calibrated with")
        if tried[-1].lowest_dice >= wanted:
            break
    return tried


def _folder(temporary: Path, ends_in_float: int) -> Path:
    return temporary / f"int8-{ends_in_float}"
