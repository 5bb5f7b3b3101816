"""A pause between two steps while the machine is too hot; nothing of the training is lost (F54)."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from segduet.training.sensors import Temperatures, detect_sensors

log = logging.getLogger(__name__)


class ThermalConfig(BaseModel):
    """When to pause for the machine to cool down. No number of the training depends on it.

    Attributes:
        cpu_limit_celsius: pause above this temperature of the processor (the third seed's 68).
        gpu_limit_celsius: pause above this temperature of a graphics card (the third seed's 72).
        hysteresis_celsius: go on once the temperatures are this far below their limits.
        check_every: steps between two checks.
        poll_seconds: time between two looks while paused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    enabled: bool = False
    cpu_limit_celsius: PositiveFloat = 68.0
    gpu_limit_celsius: PositiveFloat = 72.0
    hysteresis_celsius: PositiveFloat = 5.0
    check_every: PositiveInt = 10
    poll_seconds: float = Field(default=5.0, ge=0.1)

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        lowest = min(self.cpu_limit_celsius, self.gpu_limit_celsius) - self.hysteresis_celsius
        if lowest < 40:
            raise ValueError(
                f"the training would go on below {lowest:g} degrees only, which a machine at work "
                "does not reach; raise the limit or lower the hysteresis"
            )
        return self

    @model_validator(mode="after")
    def _has_no_idle_option(self) -> Self:
        changed = sorted(self.model_fields_set - {"enabled"})
        if not self.enabled and any(
            getattr(self, name) != type(self).model_fields[name].default for name in changed
        ):
            raise ValueError(f"{changed} have no effect without enabled: true")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """One pause.

    Attributes:
        step: step of the training that had to wait, counted from 0.
        seconds: how long.
        cpu_celsius: temperature that began it; None where unknown.
        gpu_celsius: the same of the graphics card.
    """

    step: int
    seconds: float
    cpu_celsius: float | None
    gpu_celsius: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain types for the history."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}


class ThermalGuard:
    """Looks at the temperatures every few steps, and waits where they are above their limits.

    An unknown temperature is never too hot: it neither begins nor prolongs a pause. That a
    temperature which matters is unknown is said once.

    Args:
        config: limits and intervals.
        sensors: gives the temperatures now.
        uses_gpu: whether the training runs on a graphics card, so that its temperature matters.
        agreed: from whether this process's machine is too hot to whether any process's is; all
            pause together.
        clock: seconds that never run backwards.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        config: ThermalConfig,
        sensors: Callable[[], Temperatures],
        *,
        uses_gpu: bool,
        agreed: Callable[[bool], bool] = bool,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._sensors = sensors
        self._uses_gpu = uses_gpu
        self._agreed = agreed
        self._clock = clock
        self._sleep = sleep
        self._is_unknown_reported = False

    def wait(self, step: int) -> Pause | None:
        """Waits before a step where the machine is too hot; None where it did not wait."""
        if step % self._config.check_every:
            return None
        began_at = self._read()
        if not self._is_above(began_at, margin=0.0):
            return None
        log.warning("pausing before step %d: %s", step, _text(began_at))
        started = self._clock()
        while self._is_above(now := self._read(), margin=self._config.hysteresis_celsius):
            self._sleep(self._config.poll_seconds)
        seconds = self._clock() - started
        log.warning("going on with step %d after %.0f s: %s", step, seconds, _text(now))
        return Pause(
            step=step,
            seconds=seconds,
            cpu_celsius=began_at.cpu_celsius,
            gpu_celsius=began_at.gpu_celsius,
        )

    def _read(self) -> Temperatures:
        found = self._sensors()
        is_unknown = found.cpu_celsius is None or (self._uses_gpu and found.gpu_celsius is None)
        if is_unknown and not self._is_unknown_reported:
            self._is_unknown_reported = True
            log.warning(
                "the thermal guard does not know all temperatures (%s) and guards the known ones",
                _text(found),
            )
        return found

    def _is_above(self, found: Temperatures, *, margin: float) -> bool:
        pairs = (
            (found.cpu_celsius, self._config.cpu_limit_celsius),
            (found.gpu_celsius, self._config.gpu_limit_celsius),
        )
        is_hot = any(celsius is not None and celsius > limit - margin for celsius, limit in pairs)
        return self._agreed(is_hot)


def build_guard(
    config: ThermalConfig, *, uses_gpu: bool, agreed: Callable[[bool], bool] = bool
) -> ThermalGuard | None:
    """The guard over this machine's sensors; None where it is switched off.

    Args:
        config: limits and intervals.
        uses_gpu: whether the training runs on a graphics card.
        agreed: see `ThermalGuard`.

    Raises:
        RequestError: it is wanted, and there is no way to read a temperature.
    """
    if not config.enabled:
        return None
    return ThermalGuard(config, detect_sensors(), uses_gpu=uses_gpu, agreed=agreed)


def _text(found: Temperatures) -> str:
    parts = (("CPU", found.cpu_celsius), ("GPU", found.gpu_celsius))
    return ", ".join(f"{n} {'unknown' if t is None else f'{t:.0f} °C'}" for n, t in parts)
