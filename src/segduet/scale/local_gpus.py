"""Which of this machine's GPUs a unit gets, where several run side by side."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"

_DRIVER = Path("/proc/driver/nvidia/gpus")


def visible_gpus(environment: Mapping[str, str], driver: Path = _DRIVER) -> tuple[str, ...]:
    """The GPUs this process may use, as CUDA_VISIBLE_DEVICES names them; all there are without it.

    Args:
        environment: of this process.
        driver: where NVIDIA's driver lists its devices; absent without one.
    """
    if VARIABLE in environment:
        return tuple(name.strip() for name in environment[VARIABLE].split(",") if name.strip())
    count = len(list(driver.iterdir())) if driver.is_dir() else 0
    return tuple(str(number) for number in range(count))


def least_used(
    gpus: Sequence[str], wanted: float, in_use: Iterable[Sequence[str]]
) -> tuple[str, ...]:
    """The GPUs for one more unit: those that the fewest running ones have, first come first.

    Args:
        gpus: those of the machine.
        wanted: how many; of a fraction one, which it shares.
        in_use: what each running unit has.
    """
    load = Counter(gpu for unit in in_use for gpu in unit)
    return tuple(sorted(gpus, key=lambda gpu: load[gpu])[: math.ceil(wanted)])
