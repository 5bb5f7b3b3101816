"""95 % limits of a share, of a mean of shares and of F1, all right and all wrong included (B19).

K shares, N cases, G patients. Near 0 and 1 resampling tells too little: a cohort that was answered
all rightly is the same in every resample.
"""

from collections.abc import Sequence

import numpy as np
from scipy import special

from segduet.evaluation.resampling import patient_groups

#: Shares this near to 0 or 1 are all wrong or all right, summed in another order.
_ROUNDING = 1e-12
#: With so few errors (or hits) Wilson's limit on that side lies too far inside and covers as little
#: as 84 %: up to 2 of 50 cases, up to 3 of more (Brown, Cai and DasGupta 2001, 4.1.1). A half more,
#: since an effective number of cases is not whole, and is estimated.
_FEW_ERRORS, _FEW_ERRORS_OF_MANY, _MANY_CASES = 2.5, 3.5, 50


def score_limits(share: float, *, effective: float, t: float) -> tuple[float, float]:
    """The shares that are at most t of their standard errors away from the observed one.

    Where at most two or three errors (or hits) were seen, the limit towards 1 (or 0) is that of a
    rare event.

    Args:
        share: observed, in [0, 1].
        effective: > 0, how many independent cases it is worth.
        t: quantile that stands for 1.96.

    Source: Wilson (1927), doi:10.2307/2276774; for few errors the Poisson limit of Brown, Cai and
        DasGupta (2001), doi:10.1214/ss/1009213286, section 4.1.1.
    """
    middle = (share + t**2 / (2 * effective)) / (1 + t**2 / effective)
    spread = np.sqrt(share * (1 - share) / effective + t**2 / (4 * effective**2))
    half = t * spread / (1 + t**2 / effective)
    low, high = max(0.0, float(middle - half)), min(1.0, float(middle + half))
    few = _FEW_ERRORS if effective <= _MANY_CASES else _FEW_ERRORS_OF_MANY
    if share * effective <= few:
        low = min(low, _rarest(share * effective) / effective)
    if (1 - share) * effective <= few:
        high = max(high, 1 - _rarest((1 - share) * effective) / effective)
    return low, high


def is_boundary(share: float) -> bool:
    """Whether all or nothing was right."""
    return min(share, 1 - share) <= _ROUNDING


def patients_behind(denominators: np.ndarray, patients: Sequence[str]) -> float:
    """How many patients a plain share needs to be as uncertain as this mean of shares.

    A patient counts once in a share, with the largest count of its cases, since nothing is known
    of how alike they are. K^2 / sum(1 / G_k), which is all patients for shares of equally many,
    and little more than K^2 times those of the rarest class. 0 where a share is of nobody.

    Args:
        denominators: (K, N) in [0, 1], how much each case counts in the denominator of each share.
        patients: patient of each case.
    """
    group = patient_groups(patients)
    counts = np.zeros((int(group.max()) + 1, len(denominators)))
    np.maximum.at(counts, group, denominators.T)
    of_share = counts.sum(0)
    return float(len(of_share) ** 2 / (1 / of_share).sum()) if of_share.all() else 0.0


def _rarest(count: float) -> float:
    """The rate of which so many events, or more, are seen 5 % of the time."""
    return float(special.gammaincinv(count, 0.05)) if count > _ROUNDING else 0.0
