"""Prepared cases, refused where they are missing or of another plan."""

from collections.abc import Sequence

from segduet.core.errors import RequestError
from segduet.nnunet.preprocess import preparation_hash
from segduet.nnunet.store import PreparedStore
from segduet.workflows.planned_dataset import PlannedDataset


def prepared_store(
    planned: PlannedDataset, configuration_name: str, cases: Sequence[str]
) -> PreparedStore:
    """The prepared cases of a configuration.

    Raises:
        RequestError: a case is not prepared, or was prepared with other settings.
    """
    configuration, labels = planned.plan.configuration(configuration_name), planned.labels
    store = PreparedStore.of(planned.folders, configuration)
    store.adopt_stock(planned.plan, labels)
    settings = preparation_hash(planned.plan, configuration, labels)
    missing = [case for case in cases if not store.is_current(case, settings)]
    if missing:
        raise RequestError(
            f"prepared cases of {planned.folders.name}, {configuration_name}",
            found=f"{len(missing)} of {len(cases)} missing or out of date, first {missing[0]!r}",
            expected="every case of the fold prepared with this plan",
            remedy=f"Run `segduet preprocess {planned.folders.name} -c {configuration_name}`.",
        )
    return store
