"""The bars of prediction and training speed beside what was measured, from the files of results.

Usage: python benchmarks/speed_table.py [--page PAGE] [--check]

Reads docs/results and writes the table between the two markers of a page, README.md unless another
is named (`--check` only compares). A bar says whether it is met; what was never measured says so.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segduet.core.files import read_json, write_text

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "docs" / "results"
BEGIN, END = "<!-- speed: python benchmarks/speed_table.py -->", "<!-- end of speed -->"
NOT_MEASURED = "not measured"

STEADY, COLD = "warm: steady case", "cold: whole command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a file says about a bar.

    Attributes:
        text: the figure, for a reader.
        is_met: whether the bar is met.
    """

    text: str
    is_met: bool

    def __str__(self) -> str:
        """The figure, and plainly whether the bar is missed."""
        return self.text if self.is_met else f"**missed**: {self.text}"


#: From the `figures` of a result to what it says.
Reader = Callable[[Mapping[str, Any]], Measured]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One line of the table.

    Attributes:
        what: the bar, for a reader.
        file: in docs/results, without ending.
        read: what the file says.
    """

    what: str
    file: str
    read: Reader


def at_least(bar: float, *path: str, unit: str = "times") -> Reader:
    """A figure that should be this large: a number, or median, low and high."""

    def read(figures: Mapping[str, Any]) -> Measured:
        value, spread = _figure(figures, path)
        return Measured(text=f"{_plain(value)} {unit}{spread}", is_met=value >= bar)

    return read


def at_most(bar: float, *path: str, unit: str, scale: float = 1.0) -> Reader:
    """A figure that should be this small."""

    def read(figures: Mapping[str, Any]) -> Measured:
        value, spread = _figure(figures, path, scale)
        return Measured(text=f"{_plain(value)} {unit}{spread}", is_met=value <= bar)

    return read


def speed_up(bar: float, name: str = STEADY) -> Reader:
    """The ratio of a `segduet bench` record, with its interval."""

    def read(figures: Mapping[str, Any]) -> Measured:
        ratio = next(f["ratio"] for f in figures["figures"] if f["name"] == name)
        interval = ratio["ci95"]
        doubt = f" ({interval[0]:.2f}-{interval[1]:.2f})" if interval else " (no interval)"
        text = f"{ratio['value']:.2f} times{doubt}"
        return Measured(text=text, is_met=ratio["value"] >= bar)

    return read


def equal_voxels(bar: float) -> Reader:
    """The share of equal voxels in the worst case of a `segduet bench` record."""

    def read(figures: Mapping[str, Any]) -> Measured:
        worst = figures["agreement"]["between arms"]["worst_equal_share"]
        return Measured(text=f"{100 * worst:.4f} % in the worst case", is_met=worst >= bar)

    return read


def dice_between(bar: float) -> Reader:
    """The smallest mean Dice coefficient of a label between the arms of such a record."""

    def read(figures: Mapping[str, Any]) -> Measured:
        labels = figures["agreement"]["between arms"]["labels"].values()
        lowest = min(label["mean_dsc"]["value"] for label in labels)
        return Measured(text=f"{lowest:.4f}, lowest label", is_met=lowest >= bar)

    return read


def gate(model: str, bar_dice: float, bar_loss: float) -> Reader:
    """What the accuracy gate of a trained model says of its 8-bit network."""

    def read(figures: Mapping[str, Any]) -> Measured:
        regions = figures[model]["report"]["regions"]
        dice = min(region["dice"]["value"] for region in regions)
        loss = max(-region["dsc_change"]["value"] for region in regions)
        text = f"Dice {dice:.4f}, DSC loss {loss:.4f}, worst region"
        return Measured(text=text, is_met=dice >= bar_dice and loss <= bar_loss)

    return read


def largest_share(figures: Mapping[str, Any]) -> Measured:
    """Of the 8-bit networks, the one nearest to the machine's peak."""
    shares = {n: v["share_of_peak"] for n, v in figures["networks"].items() if "int8" in n}
    name = max(shares, key=lambda n: shares[n])
    return Measured(text=f"{100 * shares[name]:.0f} % ({name})", is_met=bool(figures["passed"]))


def loss_against_mirrored(figures: Mapping[str, Any]) -> Measured:
    """The largest loss of a region on the abdominal phantoms."""
    losses = figures["accuracy"]["loss_of_fast_mode"]["stock_mirrored"]
    worst = max(losses, key=lambda name: losses[name])
    return Measured(text=f"{losses[worst]:.4f} ({worst})", is_met=losses[worst] <= 0.005)


def prediction_bars() -> Iterator[Bar]:
    """Same tiles, same mirroring."""
    same = "same tiles, same mirroring"
    for network, where in (("plain", "plain 32..320 net, random weights"), ("acdc", "ACDC, 3D")):
        for precision, bar in (("f32", 2.3), ("bf16", 4.5), ("int8", 8.0)):
            what = f"{same}, {precision}, in process: >= {bar:g} times ({where})"
            yield Bar(what=what, file=f"prediction_{network}_{precision}", read=speed_up(bar))
    what = f"{same}, f32: >= 99.99 % of voxels (ACDC, 3D)"
    yield Bar(what=what, file="prediction_acdc_f32", read=equal_voxels(0.9999))
    what = f"{same}, bf16: Dice against f32 masks >= 0.999 (ACDC, 3D)"
    yield Bar(what=what, file="prediction_acdc_bf16", read=dice_between(0.999))
    for model in ("acdc", "demo"):
        what = f"int8: Dice against f32 >= 0.99, DSC loss <= 0.005 ({model}, trained)"
        yield Bar(what=what, file="int8_accuracy", read=gate(model, 0.99, 0.005))


def command_bars() -> Iterator[Bar]:
    """Whole commands, from cold."""
    crop = "70 x 120 x 180 crop, one command, fast, int8"
    against = {"stock_mirrored": (60, "the default"), "stock": (14, "mirroring off")}
    for stock, (bar, name) in against.items():
        path = ("against", stock, "times_faster", "int8")
        what = f"{crop}: >= {bar} times against {name}"
        yield Bar(what=what, file="crop_cold", read=at_least(bar, *path))
    busi = "160 ultrasound images of 256 px, one command"
    for name, bar, how in (
        ("f32", 3, "exact, f32"),
        ("bf16", 5, "exact, bf16"),
        ("fast", 20, "fast, against the default"),
    ):
        what = f"{busi}, {how}: >= {bar} times"
        yield Bar(what=what, file=f"prediction_busi_{name}", read=speed_up(bar, COLD))
    for start in ("int8 bundle, fast", "model folder, exact"):
        read = at_most(0.6, "starts", start, "first_window_seconds", unit="s")
        what = f"cold start before the first window: <= 0.6 s ({start})"
        yield Bar(what=what, file="cold_start", read=read)


def scan_bars() -> Iterator[Bar]:
    """The CT, with the network and without."""
    scan = "120 x 512 x 512 CT"
    for bar, key, how in (
        (500, "warm_speed_up", "model loaded"),
        (300, "cold_speed_up", "from cold"),
    ):
        what = f"{scan}, fast, {how}: >= {bar} times against mirroring off (extrapolated)"
        yield Bar(what=what, file="abdomen", read=at_least(bar, "timing", key))
    recall = at_least(0.999, "recall", "recall", unit="of reference voxels")
    yield Bar(what=f"{scan}: region recall >= 99.9 %", file="abdomen", read=recall)
    what = f"{scan}: DSC loss <= 0.005 against stock with mirroring"
    yield Bar(what=what, file="abdomen", read=loss_against_mirrored)
    peak = at_most(1, "timing", "fast", "cold_peak_gib", unit="GiB")
    yield Bar(what=f"{scan}: peak memory <= 1 GB, fast", file="abdomen", read=peak)
    rest, stages = "everything but the network", ("stages",)
    for what, read in (
        (f"{rest}: >= 20 times", at_least(20, *stages, "speed_up_paired")),
        (f"{rest}: image within 1e-5", at_most(1e-5, *stages, _IMAGE, unit="largest difference")),
        (f"{rest}: label map >= 99.99 % equal", at_least(0.9999, *stages, _LABELS, unit="equal")),
        (
            "peak memory, exact, 512 x 512 x 800 with 4 classes: <= 6 GB",
            at_most(6, "exact_512x512x800_4_classes", "peak_gib", unit="GiB"),
        ),
        ("25-class export of 512 x 512 x 300: >= 20 times", at_least(20, _EXPORT, _PAIRED)),
        (
            "25-class export: <= 1/4 of the memory",
            at_most(0.25, _EXPORT, "memory_share", unit="of nnU-Net's"),
        ),
    ):
        yield Bar(what=what, file="prediction_stages", read=read)


_IMAGE, _LABELS = "image_largest_difference", "label_map_equal_share"
_EXPORT, _PAIRED = "export_25_classes_512x512x300", "speed_up_paired"


def other_bars() -> Iterator[Bar]:
    """The engine alone, and training."""
    what = "engine on the int8 network: >= 85 % of the machine's int8 peak"
    yield Bar(what=what, file="int8_peak", read=largest_share)
    step = at_least(1.9, "speed_up_over_stock", "segmentation_fixed")
    what = "training step against `nnUNetTrainer` on the CPU: >= 1.9 times"
    yield Bar(what=what, file="training_speed", read=step)
    what = "GPU, exact, first case included: >= 2 times"
    yield Bar(what=what, file="prediction_gpu", read=speed_up(2, COLD))


def table(results: Path) -> str:
    """The table."""
    bars = (*prediction_bars(), *command_bars(), *scan_bars(), *other_bars())
    rows = [("bar", "measured", "file"), ("---", "---", "---")]
    rows += [(bar.what, *_measured(bar, results)) for bar in bars]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _measured(bar: Bar, results: Path) -> tuple[str, str]:
    source = results / f"{bar.file}.json"
    if not source.is_file():
        return NOT_MEASURED, "-"
    figures = read_json(source)["figures"]
    try:
        found = str(bar.read(figures))
    except (KeyError, StopIteration):
        # a run that left this part out
        return NOT_MEASURED, source.name
    return found, source.name


def _figure(
    figures: Mapping[str, Any], path: Sequence[str], scale: float = 1.0
) -> tuple[float, str]:
    """A number and nothing, or a median and its range."""
    found: Any = figures
    for key in path:
        found = found[key]
    if isinstance(found, Mapping):
        low, high = found["range"] if "range" in found else (found["low"], found["high"])
        return found["median"] * scale, f" ({_plain(low * scale)}-{_plain(high * scale)})"
    return found * scale, ""


def _plain(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.4g}"


def filled(page: str, made: str) -> str:
    """The page with this table between its markers.

    Raises:
        SystemExit: it has no such markers.
    """
    if BEGIN not in page or END not in page:
        sys.exit(f"the page has no place for the table: {BEGIN} and {END}")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def main() -> None:
    """Fills the page, or compares it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, default=REPOSITORY / "README.md")
    parser.add_argument("--check", action="store_true", help="only compare")
    options = parser.parse_args()
    page = options.page.read_text(encoding="utf-8")
    new = filled(page, table(RESULTS))
    if options.check:
        sys.exit(f"{options.page} is out of date: run this without --check" if new != page else 0)
    write_text(options.page, new)
    print(f"written: {options.page}")


if __name__ == "__main__":
    main()
