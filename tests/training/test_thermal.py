"""F54: a fake machine gets hot; the training waits and loses nothing."""

import dataclasses
import json
import logging

import pytest
import torch
from pydantic import ValidationError

from segduet.training.loop import train
from segduet.training.sensors import Temperatures
from segduet.training.tensors import unique_tensors
from segduet.training.thermal import ThermalConfig, ThermalGuard, build_guard

CONFIG = ThermalConfig(enabled=True, check_every=4, hysteresis_celsius=5, poll_seconds=10)


class Machine:
    """Temperatures on a script (the last one stays), and a clock that only sleeping moves."""

    def __init__(self, *readings):
        self.readings = [Temperatures(cpu_celsius=c, gpu_celsius=g) for c, g in readings]
        self.now = 0.0
        self.num_reads = 0

    def sensors(self):
        self.num_reads += 1
        return self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def guard(self, config=CONFIG, *, uses_gpu=False):
        return ThermalGuard(
            config, self.sensors, uses_gpu=uses_gpu, clock=self.clock, sleep=self.sleep
        )


def test_a_hot_processor_pauses_until_it_is_below_the_limit_minus_hysteresis():
    """69 > 68 begins; 66 and 64 still wait (not below 63); 63 goes on: three looks of 10 s."""
    machine = Machine((69, None), (69, None), (66, None), (64, None), (63, None))
    pause = machine.guard().wait(step=8)
    assert (pause.step, pause.seconds, pause.cpu_celsius) == (8, 30.0, 69)
    assert machine.num_reads == 5


@pytest.mark.parametrize(
    ("cpu", "gpu", "waits"),
    [(68, 72, False), (68.5, 20, True), (20, 72.5, True), (None, 72.5, True), (71, None, True)],
)
def test_each_limit_counts_by_itself(cpu, gpu, waits):
    machine = Machine((cpu, gpu), (40, 40))
    assert (machine.guard(uses_gpu=True).wait(step=0) is not None) is waits


def test_it_looks_every_few_steps_only_and_pauses_within_one_interval():
    """Hot from step 1 on, checked every 4 steps: the pause comes before step 4."""
    machine = Machine((50, None), (80, None), (40, None))
    guard = machine.guard()
    pauses = [step for step in range(8) if guard.wait(step)]
    assert pauses == [4]
    assert machine.num_reads == 3


def test_an_unknown_temperature_is_said_once_and_is_not_zero(caplog):
    """It neither begins nor prolongs a pause."""
    machine = Machine((None, None))
    guard = machine.guard()
    with caplog.at_level(logging.WARNING):
        assert all(guard.wait(step) is None for step in (0, 4, 8))
    (record,) = caplog.records
    assert "CPU unknown, GPU unknown" in record.getMessage()
    lost = Machine((80, None), (None, None)).guard().wait(step=0)
    assert lost.seconds == 0


def test_an_unknown_graphics_card_matters_only_where_it_is_used(caplog):
    with caplog.at_level(logging.WARNING):
        Machine((50, None)).guard(uses_gpu=False).wait(step=0)
        assert caplog.records == []
        Machine((50, None)).guard(uses_gpu=True).wait(step=0)
    assert "GPU unknown" in caplog.text


def test_every_pause_is_logged_with_its_duration(caplog):
    machine = Machine((70, 75), (70, 75), (50, 60))
    with caplog.at_level(logging.WARNING):
        machine.guard().wait(step=4)
    begin, end = (record.getMessage() for record in caplog.records)
    assert "before step 4: CPU 70 °C, GPU 75 °C" in begin
    assert "after 10 s: CPU 50 °C, GPU 60 °C" in end


def _weights(state):
    return unique_tensors(state.model)


def test_a_training_that_pauses_loses_no_epoch_and_no_rate_step(make_job, tmp_path):
    """Off, on and cool, on and hot: the same weights and rates; only the pauses are recorded."""
    plain = train(make_job(folder=tmp_path / "plain"), resume=False)
    machine = Machine((80, None), (80, None), (50, None), (50, None), (75, None), (60, None))
    job = dataclasses.replace(make_job(folder=tmp_path / "hot"), thermal=machine.guard())
    progress = []
    job = dataclasses.replace(job, on_progress=progress.append)
    hot = train(job, resume=False)
    assert all(torch.equal(v, _weights(hot)[k]) for k, v in _weights(plain).items())
    assert hot.epoch == plain.epoch == 4
    assert [r["learning_rate"] for r in hot.history] == [r["learning_rate"] for r in plain.history]
    # 12 steps, looked at before steps 0, 4 and 8
    lines = (job.run_folder / "metrics.jsonl").read_text().splitlines()
    pauses = [pause for line in lines for pause in json.loads(line).get("pauses", [])]
    assert [(p["step"], p["seconds"], p["cpu_celsius"]) for p in pauses] == [
        (0, 10.0, 80),
        (8, 0.0, 75),
    ]
    assert hot.history[0]["paused_seconds"] == 10.0
    assert "pauses" not in plain.history[0]


def test_pauses_do_not_count_as_training_time(make_job):
    """A pause that takes real time is in neither the epoch's seconds nor the rate."""
    machine = Machine((80, None), (80, None), (50, None))

    def sleep(seconds):
        import time

        time.sleep(0.5)
        machine.sleep(0.5)

    import time

    guard = ThermalGuard(CONFIG, machine.sensors, uses_gpu=False, clock=time.monotonic, sleep=sleep)
    job = make_job(epochs=1, steps_per_epoch=1, validation={"patches_per_epoch": 0})
    progress = []
    started = time.perf_counter()
    job = dataclasses.replace(job, thermal=guard, on_progress=progress.append)
    (record,) = train(job, resume=False).history
    wall = time.perf_counter() - started
    assert record["paused_seconds"] >= 0.5
    assert record["seconds"] <= wall - 0.5
    assert 1 / progress[0].steps_per_second <= wall - 0.5


def test_off_by_default():
    assert build_guard(ThermalConfig(), uses_gpu=False) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cpu_limit_celsius": 60}, "enabled"),
        ({"enabled": True, "cpu_limit_celsius": 30}, "below 25 degrees"),
        ({"enabled": True, "check_every": 0}, "check_every"),
        ({"enabled": True, "limit": 3}, "limit"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        ThermalConfig.model_validate(settings)
