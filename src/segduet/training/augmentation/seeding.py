"""The one place where the global random generators are touched (F40, F58)."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def seeded_globals(rng: np.random.Generator) -> Iterator[None]:
    """Seeds the global generators from `rng` for the block and restores them afterwards.

    batchgeneratorsv2 draws from numpy's, torch's and Python's global generators.
    """
    states = np.random.get_state(), torch.get_rng_state(), random.getstate()  # noqa: NPY002
    seed = int(rng.integers(2**32))
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(states[0])  # noqa: NPY002
        torch.set_rng_state(states[1])
        random.setstate(states[2])
