"""`--mode fast`: every shortcut is a switch, acts, is written down, and can be refused (F72, B13).

The networks are 3D U-Nets whose weights are set by hand: foreground is where the prepared image is
above 1, whatever the window.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import torch

import segduet as package
from segduet.core.description import DatasetDescription
from segduet.core.errors import RequestError
from segduet.core.plan import Plan
from segduet.inference.engines.converted_engine import ConvertedEngine
from segduet.inference.engines.runtimes import EngineName
from segduet.inference.engines.torch_engine import TorchEngine
from segduet.io.images import read_image
from segduet.networks.backbone_config import BackboneConfig, PlannedConfig, QuickNATConfig
from segduet.networks.joint import build_joint_network
from segduet.networks.record import NetworkRecord
from segduet.training.checkpoint import write_model
from segduet.workflows.bench_arms import load_arguments, segduet_arm
from segduet.workflows.models import model_header, write_model_folder
from segduet.workflows.shortcuts import window_multiple
from tiny_plans import tiny_configuration

INTENSITIES = {"mean": 0.0, "std": 100.0, "percentile_00_5": -100.0, "percentile_99_5": 200.0}
LABELS = {"background": 0, "organ": 1}
PATCHES = {"3d_fullres": (16, 16, 16), "3d_coarse": (8, 16, 16), "2d": (16, 16)}
SPACINGS = {"3d_fullres": (1.0,) * 3, "3d_coarse": (2.0,) * 3, "2d": (1.0,) * 2}
FAST = ("--mode", "fast", "--engine", "torch", "--device", "cpu")


@dataclass(frozen=True, slots=True)
class Scans:
    """Two scans of a body in air, with an organ; and where it is."""

    folder: Path
    masks: dict[str, np.ndarray]


def write_network(
    folder: Path,
    name: str,
    *,
    labels: dict[str, int] | None = None,
    channel: str = "CT",
    sees: bool = True,
    backbone: BackboneConfig | None = None,
    **changes: Any,
) -> Path:
    """Writes a model folder for one configuration; `changes` are those of the configuration."""
    patch, labels = PATCHES[name], labels or LABELS
    tiny = tiny_configuration(patch, features=(4, 6), norm_op=None, norm_op_kwargs=None)
    scheme = {"CT": "CTNormalization", "MR": "NoNormalization"}[channel]
    own = {"spacing": SPACINGS[name], "normalization_schemes": (scheme,), **changes}
    configuration = tiny.model_copy(update=own)
    plan = Plan(
        dataset_name="Dataset501_tiny",
        plans_name="plans",
        foreground_intensity_properties_per_channel={"0": INTENSITIES},
        configurations={name: configuration.model_dump(mode="json", by_alias=True)},
    )
    description = DatasetDescription(
        channel_names={"0": channel}, labels=labels, numTraining=1, file_ending=".nii.gz"
    )
    record = NetworkRecord(network=backbone or PlannedConfig())
    network = build_joint_network(
        configuration=configuration,
        num_channels=1,
        labels=description.label_scheme,
        tasks=(),
        head=record.head,
        deep_supervision=False,
        backbone=record.network,
        with_masks=True,
    )
    if backbone is None:
        _set_by_hand(network, 1.0 if sees else 1e4)
    model = folder / f"segduet_hand__plans__{name}"
    write_model_folder(model, plan, description)
    write_model(model / "fold_0" / "model.safetensors", network, model_header([], record))
    return model


def _set_by_hand(network: torch.nn.Module, threshold: float) -> None:
    """The image goes through the first convolution, the skip and the decoder; then a threshold."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        weights = network.state_dict()
        dims = weights["decoder.seg_layers.0.weight"].ndim - 2
        middle = (1,) * dims
        weights["encoder.stages.0.0.convs.0.conv.weight"][(0, 0, *middle)] = 1
        weights["decoder.stages.0.convs.0.conv.weight"][(0, 4, *middle)] = 1
        weights["decoder.seg_layers.0.weight"][1, 0] = 1
        weights["decoder.seg_layers.0.bias"][1] = -threshold


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Scans:
    folder, masks = tmp_path_factory.mktemp("images"), {}
    z, y, x = np.indices((24, 60, 64))
    for case, (cy, cx) in {"a": (30, 24), "b": (34, 30)}.items():
        mask = ((z - 12) / 5) ** 2 + ((y - cy) / 6) ** 2 + ((x - cx) / 6) ** 2 <= 1
        image = np.full(mask.shape, -1000, np.int16)
        image[:, 20:44, 10:44] = 1
        image[mask] = 180
        written = SimpleITK.GetImageFromArray(image)
        SimpleITK.WriteImage(written, str(folder / f"{case}_0000.nii.gz"))
        masks[case] = mask
    return Scans(folder, masks)


@pytest.fixture(scope="module")
def fine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("fine"), "3d_fullres")


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("coarse"), "3d_coarse")


@pytest.fixture
def num_windows(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of all windows that go through a network of torch."""
    shapes: list[tuple[int, ...]] = []
    predict = TorchEngine.predict

    def counted(self: TorchEngine, windows: np.ndarray, shares: np.ndarray) -> Any:
        shapes.append(windows.shape[2:])
        return predict(self, windows, shares)

    monkeypatch.setattr(TorchEngine, "predict", counted)
    return shapes


@pytest.fixture
def predict(segduet: Callable[..., Any], scans: Scans, tmp_path: Path) -> Callable[..., Any]:
    """`predict(model, *options)` on both scans; the manifest's outcome and arguments."""

    def run(model: Path, *options: object) -> dict[str, Any]:
        out = tmp_path / "out"
        done = segduet("predict", model, scans.folder, "--out", out, *options)
        assert done.code == 0, done.err
        for case, mask in scans.masks.items():
            found = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(out / f"{case}.nii.gz")))
            np.testing.assert_array_equal(found, mask)
        return {**json.loads((out / "manifest.json").read_text()), "printed": done.out}

    return run


def test_every_shortcut_saves_windows_and_is_written_down(
    predict: Callable, fine: Path, coarse: Path, num_windows: list
) -> None:
    """B13, F72: the same masks each time; mirroring costs 8 times as many windows."""
    arms = {
        "exact": ("--engine", "torch", "--device", "cpu"),
        "nothing": (*FAST, "--tta", "--no-body-crop", "--no-fit-windows", "--precision", "fp32"),
        "unmirrored": (*FAST, "--no-body-crop", "--precision", "fp32"),
        "body": (*FAST, "--precision", "fp32"),
        "coarse": (*FAST, "--no-body-crop", "--coarse", coarse),
        "all": (*FAST, "--coarse", coarse),
    }
    windows, told = {}, {}
    for name, options in arms.items():
        num_windows.clear()
        told[name] = predict(fine, *options, "--step", 0.9)
        windows[name] = len(num_windows)
    assert windows["exact"] == windows["nothing"] == 8 * windows["unmirrored"]
    assert windows["body"] < windows["unmirrored"]
    assert windows["coarse"] < windows["body"]
    assert windows["all"] <= windows["coarse"]
    outcomes = {name: each["outcome"] for name, each in told.items()}
    assert (outcomes["exact"]["mode"], outcomes["exact"]["shortcuts"]) == ("exact", {})
    assert outcomes["exact"]["regions"] == outcomes["unmirrored"]["regions"] == {}
    assert outcomes["nothing"]["shortcuts"] == {
        "precision": "fp32",
        "mirrored": True,
        "body_crop": False,
        "no_body_crop_because": "it was switched off",
        "coarse": None,
        "coarse_precision": None,
        "coarse_fit_windows": None,
        "fit_windows": False,
        "no_fit_windows_because": "it was switched off",
    }
    assert {r["found_by"] for r in outcomes["body"]["regions"].values()} == {"body"}
    assert outcomes["all"]["shortcuts"]["coarse"] == str(coarse)
    assert outcomes["all"]["shortcuts"]["body_crop"] is True
    assert outcomes["all"]["shortcuts"]["fit_windows"] is True
    assert outcomes["all"]["shortcuts"]["coarse_fit_windows"] is True
    assert sorted(outcomes["all"]["regions"]) == ["a", "b"]
    assert outcomes["all"]["regions"]["a"]["found_by"] == "coarse"
    assert outcomes["all"]["regions"]["a"]["notes"] == []
    assert "looked at: coarse 2" in told["all"]["printed"]
    assert told["all"]["arguments"]["mode"] == "fast"
    assert told["all"]["arguments"]["mirrored"] is False


def test_a_region_that_was_given_up_is_told_case_by_case(
    predict: Callable, fine: Path, tmp_path: Path
) -> None:
    """F72: a coarse network that sees nothing; never silently."""
    blind = write_network(tmp_path / "blind", "3d_coarse", sees=False)
    told = predict(fine, *FAST, "--no-body-crop", "--coarse", blind)
    note = "the coarse network found no foreground: region not narrowed"
    for region in told["outcome"]["regions"].values():
        assert (region["found_by"], region["notes"]) == ("whole", [note])
        assert region["box"] == [[0, 24], [0, 60], [0, 64]]
    assert f"2 cases: {note}" in told["printed"]


def test_a_bundle_brings_its_coarse_network_along(
    segduet: Callable, predict: Callable, fine: Path, coarse: Path, tmp_path: Path
) -> None:
    """F72, B12: used in fast mode, unless switched off; not in exact mode."""
    bundle = tmp_path / "model.zip"
    done = segduet(
        *("export", fine, "--to", "bundle", "--format", "openvino", "--coarse", coarse),
        *("--out", bundle),
    )
    assert done.code == 0, done.err
    cache = ("--cache", tmp_path / "cache", "--device", "cpu", "--no-tta")
    regions = predict(bundle, "--mode", "fast", *cache)["outcome"]["regions"]
    assert {region["found_by"] for region in regions.values()} == {"coarse"}
    told = predict(bundle, "--mode", "fast", "--coarse", "off", *cache)["outcome"]
    assert {region["found_by"] for region in told["regions"].values()} == {"body"}
    assert told["shortcuts"]["coarse"] is None
    assert predict(bundle, *cache)["outcome"]["regions"] == {}


def test_fast_precision_is_the_fastest_there_is_unless_named(
    monkeypatch: pytest.MonkeyPatch, fine: Path, conversions: Path
) -> None:
    """B13: bf16 where the processor computes in it; a model folder has no 8-bit network."""
    for has_bf16, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(
            "segduet.inference.engines.machine.cpu_has_bf16", lambda found=has_bf16: found
        )
        fast = package.load(fine, mode="fast", engine="openvino", device="cpu", cache=conversions)
        assert fast.choice.precision == fast.shortcuts["precision"] == expected
        named = package.load(
            fine, mode="fast", engine="torch", device="cpu", precision="fp32", mirrored=True
        )
        assert named.choice.precision == "fp32"
        assert named.settings.mirror_axes == (0, 1, 2)


@pytest.mark.parametrize(
    ("name", "channel", "why"), [("2d", "CT", "a 2D network"), ("3d_fullres", "MR", "no CT")]
)
def test_models_without_a_body_to_crop_to_take_the_other_shortcuts(
    name: str, channel: str, why: str, tmp_path: Path, scans: Scans
) -> None:
    """B13: precision and no mirroring; the crop asked for by name is refused."""
    model = write_network(tmp_path, name, channel=channel)
    options = {"mode": "fast", "engine": "torch", "device": "cpu"}
    loaded = package.load(model, **options)
    assert loaded.settings.mirror_axes == ()
    assert loaded.shortcuts["body_crop"] is False
    assert why in str(loaded.shortcuts["no_body_crop_because"])
    prediction = loaded.predict(read_image([scans.folder / "a_0000.nii.gz"]))
    assert prediction.seen is None
    if channel == "CT":
        np.testing.assert_array_equal(prediction.label_map, scans.masks["a"])
    with pytest.raises(RequestError, match=why):
        package.load(model, body_crop=True, **options)


def test_several_models_see_the_whole_image(predict: Callable, fine: Path) -> None:
    """F77: with --also there is one grid for all, and it is told."""
    told = predict(fine, *FAST, "--also", fine)["outcome"]
    assert told["regions"] == {}
    assert told["shortcuts"]["no_body_crop_because"] == "it was switched off"


@pytest.fixture(scope="module")
def thin(scans: Scans, tmp_path_factory: pytest.TempPathFactory) -> Scans:
    """The scans cut to 13 of 24 slices: fewer than the patch of 16, and no multiple of 2."""
    folder = tmp_path_factory.mktemp("thin")
    for case in scans.masks:
        name = f"{case}_0000.nii.gz"
        whole = SimpleITK.ReadImage(str(scans.folder / name))
        SimpleITK.WriteImage(whole[:, :, 6:19], str(folder / name))
    return Scans(folder, {case: mask[6:19] for case, mask in scans.masks.items()})


def test_windows_shrink_to_images_smaller_than_the_patch(
    segduet: Callable, fine: Path, thin: Scans, num_windows: list, tmp_path: Path
) -> None:
    """F72: fewer voxels through the network, the same masks on the same grid, written down."""
    arms = {
        "exact": ("--engine", "torch", "--device", "cpu", "--no-tta"),
        "padded": (*FAST, "--no-body-crop", "--precision", "fp32", "--no-fit-windows"),
        "fitted": (*FAST, "--no-body-crop", "--precision", "fp32"),
    }
    seen: dict[str, list[tuple[int, ...]]] = {}
    told = {}
    for name, options in arms.items():
        num_windows.clear()
        out = tmp_path / name
        done = segduet("predict", fine, thin.folder, "--out", out, "--step", 0.9, *options)
        assert done.code == 0, done.err
        seen[name] = list(num_windows)
        told[name] = json.loads((out / "manifest.json").read_text())
        for case, mask in thin.masks.items():
            found = SimpleITK.ReadImage(str(out / f"{case}.nii.gz"))
            image = SimpleITK.ReadImage(str(thin.folder / f"{case}_0000.nii.gz"))
            np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(found), mask)
            assert found.GetOrigin() == image.GetOrigin()
    assert set(seen["exact"]) == set(seen["padded"]) == {(16, 16, 16)}
    assert set(seen["fitted"]) == {(14, 16, 16)}
    assert len(seen["fitted"]) == len(seen["padded"]) == len(seen["exact"])
    shortcuts = {name: each["outcome"]["shortcuts"] for name, each in told.items()}
    assert shortcuts["exact"] == {}
    for name, is_fitted, why in (("fitted", True, None), ("padded", False, "it was switched off")):
        assert shortcuts[name]["fit_windows"] is is_fitted
        assert shortcuts[name]["no_fit_windows_because"] == why
    assert told["padded"]["arguments"]["fit_windows"] is False


def test_converted_networks_know_their_strides(
    fine: Path, thin: Scans, conversions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F72, F71: the same window as through torch; the graph takes it."""
    shapes = []
    predict = ConvertedEngine.predict

    def kept(self: ConvertedEngine, windows: np.ndarray, shares: np.ndarray) -> Any:
        shapes.append(windows.shape[2:])
        return predict(self, windows, shares)

    monkeypatch.setattr(ConvertedEngine, "predict", kept)
    named = {"device": "cpu", "cache": conversions, "precision": "fp32", "body_crop": False}
    loaded = package.load(fine, mode="fast", engine="openvino", fit_windows=True, **named)
    assert loaded.settings.window_multiple == (2, 2, 2)
    prediction = loaded.predict(read_image([thin.folder / "a_0000.nii.gz"]))
    np.testing.assert_array_equal(prediction.label_map, thin.masks["a"])
    assert set(shapes) == {(14, 16, 16)}


def test_the_coarse_look_and_the_region_it_finds_are_fitted_too(
    fine: Path, thin: Scans, num_windows: list, tmp_path: Path
) -> None:
    """F72: 7 x 30 x 32 coarse voxels in one window; the region is as thin as the image."""
    coarse = write_network(tmp_path, "3d_coarse", patch_size=(8, 32, 40))
    options = {"engine": "torch", "device": "cpu", "precision": "fp32", "body_crop": False}
    image = read_image([thin.folder / "a_0000.nii.gz"])
    seen = []
    for fit in (None, False):
        num_windows.clear()
        loaded = package.load(fine, mode="fast", coarse=coarse, fit_windows=fit, **options)
        assert loaded.shortcuts["coarse_fit_windows"] is (fit is None)
        prediction = loaded.predict(image)
        np.testing.assert_array_equal(prediction.label_map, thin.masks["a"])
        assert prediction.seen is not None
        assert str(prediction.seen.found_by) == "coarse"
        seen.append(set(num_windows))
    assert seen == [{(8, 30, 32), (14, 16, 16)}, {(8, 32, 40), (16, 16, 16)}]


def test_networks_of_other_sizes_of_patch_go_on_padding(tmp_path: Path) -> None:
    """F72: QuickNAT rounds down, its patch may be odd; it is told, and refused by name."""
    model = write_network(tmp_path, "2d", backbone=QuickNATConfig(num_filters=4, levels=2),
                          patch_size=(18, 16))  # fmt: skip
    options = {"mode": "fast", "engine": "torch", "device": "cpu"}
    loaded = package.load(model, **options)
    why = "a patch that is no multiple of the network's total stride"
    assert loaded.settings.window_multiple is None
    assert loaded.shortcuts["fit_windows"] is False
    assert loaded.shortcuts["no_fit_windows_because"] == why
    with pytest.raises(RequestError, match=rf"--fit-windows.*{why}.*Leave --fit-windows out"):
        package.load(model, fit_windows=True, **options)


def test_tensorrt_builds_for_every_size_and_is_not_asked_to(fine: Path) -> None:
    """F72: a build takes minutes; several networks share a multiple of all their strides."""
    model = package.load(fine, engine="torch", device="cpu").model
    strides = [(2, 2, 2), (1, 4, 8)]
    assert window_multiple(model, strides, EngineName.TORCH, None) == (2, 4, 8)
    assert window_multiple(model, strides, EngineName.TORCH, False) is None
    assert window_multiple(model, strides, EngineName.TENSORRT, None) is None
    with pytest.raises(RequestError, match="TensorRT"):
        window_multiple(model, strides, EngineName.TENSORRT, True)


def coarse_models(folder: Path) -> dict[str, tuple[Path, str]]:
    """Coarse models that do not fit the fine one, and what is said."""
    return {
        "other labels": (
            write_network(folder / "l", "3d_coarse", labels={"background": 0, "liver": 1}),
            "labels",
        ),
        "other channels": (write_network(folder / "c", "3d_coarse", channel="MR"), "channels"),
        "finer": (
            write_network(folder / "f", "3d_coarse", spacing=(1.0, 1.0, 0.9)),
            "larger voxels",
        ),
        "as fine": (write_network(folder / "s", "3d_coarse", spacing=(1.0,) * 3), "larger voxels"),
        "2D": (write_network(folder / "d", "2d"), "a 2D network"),
        "cascade": (
            write_network(folder / "n", "3d_coarse", previous_stage="3d_lowres"),
            "second stage",
        ),
    }


@pytest.mark.parametrize(
    "kind", ["other labels", "other channels", "finer", "as fine", "2D", "cascade"]
)
def test_a_coarse_model_that_does_not_fit_is_refused(
    kind: str, fine: Path, scans: Scans, segduet: Callable, tmp_path: Path
) -> None:
    """F72: one message, when predicting and when exporting; nothing is written."""
    model, said = coarse_models(tmp_path)[kind]
    out = tmp_path / "out"
    for command in (
        ("predict", fine, scans.folder, *FAST, "--coarse", model),
        ("export", fine, "--to", "openvino", "--coarse", model),
    ):
        if kind == "cascade" and command[0] == "predict":
            said_now = "no first stage"
        else:
            said_now = said
        done = segduet(*command, "--out", out)
        assert done.code == 2, done.err
        assert said_now in " ".join(done.err.split())
        assert not out.exists()


@pytest.mark.parametrize(
    "options_and_answer",
    [
        (("--coarse", "model"), "--mode fast"),
        (("--body-crop",), "--mode fast"),
        (("--no-body-crop",), "--mode fast"),
        (("--fit-windows", "--mode", "exact"), "Add --mode fast, or leave the option out"),
        (("--no-fit-windows",), "--mode fast"),
        (("--mode", "fast", "--coarse", "no_such_model"), "no_such_model"),
        (("--mode", "fast", "--also", "other", "--coarse", "model"), "--also"),
        (("--mode", "fast", "--also", "other", "--body-crop"), "--also"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options_and_answer: tuple[tuple[str, ...], str],
    fine: Path,
    scans: Scans,
    segduet: Callable,
    tmp_path: Path,
) -> None:
    options, said = options_and_answer
    done = segduet("predict", fine, scans.folder, "--out", tmp_path / "out", *options)
    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "out").exists()


def test_no_stock_folder_holds_a_coarse_network(
    fine: Path, coarse: Path, segduet: Callable, tmp_path: Path
) -> None:
    done = segduet("export", fine, "--to", "nnunet", "--coarse", coarse, "-o", tmp_path / "out")
    assert done.code == 2
    assert "which can hold two models" in done.err


def test_a_mode_that_does_not_exist(fine: Path) -> None:
    with pytest.raises(RequestError, match="exact, fast"):
        package.load(fine, mode="slow")  # type: ignore[arg-type]


def test_the_benchmark_knows_every_shortcut(fine: Path, coarse: Path, tmp_path: Path) -> None:
    """F85: each can be ablated, on the command line and in one process alike."""
    options = {
        **{"mode": "fast", "body-crop": "false", "no-tta": "false", "fit-windows": "false"},
        "coarse": str(coarse),
    }
    assert load_arguments(options, where="--option") == {
        "mode": "fast",
        "body_crop": False,
        "mirrored": True,
        "fit_windows": False,
        "coarse": str(coarse),
    }
    command = segduet_arm(fine, options, where="--option").command(tmp_path, tmp_path / "out")
    assert command[-7:-2] == ["--mode", "fast", "--no-body-crop", "--tta", "--no-fit-windows"]
    assert command[-2:] == ["--coarse", str(coarse)]
