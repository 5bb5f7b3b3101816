"""Seconds and memory of fast mode and of stock nnU-Net on one scan; for abdomen.py.

Every run is a fresh process, and the sides take turns, a scan per round. Stock nnU-Net's windows
are timed by its own sliding window over a part of the prepared scan that takes four of them. Its
time for the whole scan is what it takes to prepare, restore and write, measured once, and as many
windows as it would lay.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from segduet.workflows.bench_process import run_fresh

_WARM_RUNS = 3
#: Windows of a run of stock nnU-Net's sliding window that is timed.
TOGETHER = 4


def timing(*, bundle: Path, stock: Path, scans: Sequence[Path]) -> dict[str, Any]:
    """All times: per scan a cold and a warm run of fast mode, and a run of stock nnU-Net."""
    rounds: list[dict[str, dict[str, Any]]] = []
    with tempfile.TemporaryDirectory(prefix="segduet-abdomen-") as name:
        out = Path(name)
        # the first run unpacks the bundle and compiles its networks into the cache
        _cold(bundle, scans[0], out / "first")
        rest = _in_fresh_process("rest", stock, scans[0], out)
        for number, scan in enumerate(scans):
            rounds.append(
                {
                    "windows": _in_fresh_process("windows", stock, scan, out),
                    "cold": _cold(bundle, scan, out / f"cold{number}"),
                    "warm": _in_fresh_process("warm", bundle, scan, out),
                }
            )
    return {
        "stock": _stock_figures([r["windows"] for r in rounds], rest),
        "fast": _fast_figures([r["cold"] for r in rounds], [r["warm"] for r in rounds]),
        **_speed_ups(rounds, rest),
        "rounds": len(rounds),
    }


def _stock_figures(runs: list[dict[str, Any]], rest: dict[str, Any]) -> dict[str, Any]:
    windows = [seconds for run in runs for seconds in run["seconds_per_window"]]
    around = sum(rest["seconds"].values())
    return {
        "num_windows": rest["num_windows"],
        "timed_windows": len(windows) * TOGETHER,
        "seconds_per_window": _spread(windows),
        "seconds_but_windows": rest["seconds"],
        "seconds_until_loaded": _spread([run["ready_s"] for run in runs]),
        "extrapolated_warm_s": _spread([around + rest["num_windows"] * s for s in windows]),
        "peak_gib_but_windows": rest["peak_gib"],
    }


def _fast_figures(cold: list[dict[str, Any]], warm: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "warm_s": _spread([seconds for run in warm for seconds in run["seconds"]]),
        "warm_stages_s": [run["stages"] for run in warm],
        "warm_peak_gib": _spread([run["peak_gib"] for run in warm]),
        "cold_s": _spread([run["seconds"] for run in cold]),
        "cold_peak_gib": _spread([run["peak_gib"] for run in cold]),
        "cold_cpu_s": _spread([run["cpu_s"] for run in cold]),
        "cpu_s_of_others_meanwhile": [run["other_cpu_s"] for run in cold],
        "notes": [run["notes"] for run in cold],
    }


def _speed_ups(
    rounds: list[dict[str, dict[str, Any]]], rest: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Of every round: stock nnU-Net's extrapolated time by fast mode's."""
    around, num_windows = sum(rest["seconds"].values()), rest["num_windows"]
    warm, cold = [], []
    for each in rounds:
        stock_s = around + num_windows * statistics.mean(each["windows"]["seconds_per_window"])
        warm.append(stock_s / statistics.median(each["warm"]["seconds"]))
        cold.append((stock_s + each["windows"]["ready_s"]) / each["cold"]["seconds"])
    return {"warm_speed_up": _spread(warm), "cold_speed_up": _spread(cold)}


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "n": len(values),
    }


def _cold(bundle: Path, scan: Path, out: Path) -> dict[str, Any]:
    """`segduet predict` from start to end, as a user runs it."""
    out.mkdir()
    command = [sys.executable, "-m", "segduet", "predict", str(bundle), str(scan.parent)]
    command += ["--out", str(out / "answers"), "--mode", "fast"]
    sample = run_fresh(command, out, cores=None, who="fast mode")
    seen = json.loads((out / "answers" / "manifest.json").read_text())["outcome"]["regions"]
    return {
        "seconds": sample.wall_s,
        "cpu_s": sample.user_s + sample.system_s,
        "other_cpu_s": sample.other_cpu_s,
        "peak_gib": sample.peak_rss_mb * 1e6 / 2**30,
        "notes": seen,
    }


def _in_fresh_process(what: str, model: Path, scan: Path, out: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, what, str(model), str(scan), str(out), str(time.time())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(time.strftime("%H:%M:%S"), what, json.dumps(result)[:400], flush=True)
    return result


def warm_run(bundle: Path, scan: Path, out: Path, begun: float) -> dict[str, Any]:
    """Fast mode with the model loaded, from file to file; the first answer is not counted."""
    import segduet
    from segduet.io.images import read_stored_image, write_label_map

    model = segduet.load(bundle, mode="fast")
    ready = time.time() - begun
    seconds, stages = [], {}
    for number in range(_WARM_RUNS + 1):
        started = time.perf_counter()
        volume = read_stored_image([scan])
        read = time.perf_counter()
        prediction = model.predict(volume, "ct")
        done = time.perf_counter()
        assert prediction.label_map is not None
        write_label_map(out / "warm.nii.gz", prediction.label_map, prediction.geometry)
        end = time.perf_counter()
        if number:
            seconds.append(end - started)
        stages = {"read": read - started, **prediction.seconds, "write": end - done}
    return {"seconds": seconds, "stages": stages, "ready_s": ready, "peak_gib": _peak_gib()}


def windows_run(stock: Path, _: Path, out: Path, begun: float) -> dict[str, Any]:
    """Stock nnU-Net's own sliding window without mirroring, over a part that takes four windows."""
    import numpy as np
    import torch

    predictor = _stock_predictor(stock)
    ready = time.time() - begun
    prepared = np.load(out / "part.npy")
    one = tuple(slice(0, length) for length in predictor.configuration_manager.patch_size)
    predictor.predict_sliding_window_return_logits(torch.from_numpy(prepared[:, *one]))
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        predictor.predict_sliding_window_return_logits(torch.from_numpy(prepared))
        seconds.append((time.perf_counter() - started) / TOGETHER)
    return {
        "seconds_per_window": seconds,
        "ready_s": ready,
        "peak_gib": _peak_gib(),
    }


def rest_run(stock: Path, scan: Path, out: Path, begun: float) -> dict[str, Any]:
    """Stock nnU-Net's time for everything but the windows; leaves a part of the prepared scan."""
    import numpy as np
    import torch
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape as restore,
    )
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    predictor = _stock_predictor(stock)
    configuration, plans = predictor.configuration_manager, predictor.plans_manager
    ready = time.time() - begun
    started = time.perf_counter()
    preprocessor = configuration.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case(
        [str(scan)], None, plans, configuration, predictor.dataset_json
    )
    prepared = time.perf_counter()
    patch = configuration.patch_size
    steps = compute_steps_for_sliding_window(data.shape[1:], patch, predictor.tile_step_size)
    middle = [(n - length) // 2 for n, length in zip(data.shape[1:], patch, strict=True)]
    # two windows along each of two axes
    reach = (patch[0], patch[1] + patch[1] // 2, patch[2] + patch[2] // 2)
    part = tuple(slice(first, first + n) for first, n in zip(middle, reach, strict=True))
    np.save(out / "part.npy", data[:, *part])
    num_windows = int(np.prod([len(along) for along in steps]))
    # logits as nnU-Net hands them on: float16, some of them foreground
    logits = torch.zeros((3, *data.shape[1:]), dtype=torch.half)
    logits[1:] = torch.from_numpy(data[0]).clamp(-1, 1)
    before = time.perf_counter()
    label_map = restore(logits, plans, configuration, predictor.label_manager, properties)
    restored = time.perf_counter()
    plans.image_reader_writer_class().write_seg(label_map, str(out / "stock.nii.gz"), properties)
    written = time.perf_counter()
    return {
        "seconds": {
            "prepare": prepared - started,
            "restore": restored - before,
            "write": written - restored,
        },
        "num_windows": num_windows,
        "ready_s": ready,
        "peak_gib": _peak_gib(),
    }


def _stock_predictor(model: Path) -> Any:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    # as the command does: every core on a CPU
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    predictor = nnUNetPredictor(
        tile_step_size=0.5,
        use_mirroring=False,
        device=torch.device("cpu"),
        verbose=False,
        allow_tqdm=False,
    )
    predictor.initialize_from_trained_model_folder(str(model), [0], "checkpoint_final.pth")
    return predictor


def _peak_gib() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kib) / 2**20


def main() -> None:
    """One measurement in a process of its own."""
    what, model, scan, out, begun = sys.argv[1:]
    runs: dict[str, Callable[[Path, Path, Path, float], dict[str, Any]]] = {
        "warm": warm_run,
        "windows": windows_run,
        "rest": rest_run,
    }
    print(json.dumps(runs[what](Path(model), Path(scan), Path(out), float(begun))))


if __name__ == "__main__":
    main()
