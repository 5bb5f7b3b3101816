"""Which plan of a dataset is meant where nobody names one."""

from segduet.core.errors import RequestError
from segduet.core.folders import DatasetFolders
from segduet.nnunet.planners import PLANNERS


def only_plan(folders: DatasetFolders) -> str:
    """Name of the only plan a dataset has.

    Raises:
        RequestError: it is not planned yet, or has several plans.
    """
    known = {planner.plans_name for planner in PLANNERS.values()}
    names = sorted(p.stem for p in folders.preprocessed.glob("*.json") if p.stem in known)
    if len(names) != 1:
        raise RequestError(
            f"plans of {folders.name}",
            found=f"{len(names)} plans in {folders.preprocessed}" + (f": {names}" if names else ""),
            expected="exactly one, or --plans NAME",
            remedy="Run `segduet plan` first." if not names else "Name one with --plans.",
        )
    return names[0]
