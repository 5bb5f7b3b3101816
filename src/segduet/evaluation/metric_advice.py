"""From what a dataset is like to the metrics that say something on it (feature 59)."""

from segduet.evaluation.advice import EVERY_FIGURE, PITFALLS, Advice, pieces_of_advice
from segduet.evaluation.data_fingerprint import DatasetFingerprint
from segduet.evaluation.mask_advice import mask_advice
from segduet.evaluation.task_advice import task_advice


def metric_advice(data: DatasetFingerprint) -> list[Advice]:
    """Which metrics to look at, which to be careful with and which say nothing here, and why.

    Args:
        data: from `dataset_fingerprint`.

    Source: Maier-Hein et al. (2024), doi:10.1038/s41592-023-02151-z; Reinke et al. (2024),
        doi:10.1038/s41592-023-02150-0. Where a property begins is our choice: they give no numbers.
    """
    return [*mask_advice(data), *task_advice(data), *_several_cases_per_patient(data)]


def _several_cases_per_patient(data: DatasetFingerprint) -> list[Advice]:
    if data.num_cases == data.num_patients:
        return []
    ratio = data.num_cases / data.num_patients
    return pieces_of_advice(
        EVERY_FIGURE,
        "several_cases_per_patient",
        f"{data.num_cases} cases are of {data.num_patients} patients ({ratio:.1f} each)",
        (
            "careful",
            (),
            "a mean weighs a patient by their cases; intervals here draw patients, others that "
            "draw cases are too narrow",
        ),
        measured=ratio,
        source=f"{PITFALLS}, non-independence of test cases (P3)",
    )
