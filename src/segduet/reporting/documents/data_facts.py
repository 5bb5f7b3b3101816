"""Sentences about the data: dataset.json, plans.json, cases.csv and the run's lists of cases."""

from segduet.core.plan import ConfigurationPlan
from segduet.reporting.documents.evidence import Evidence


def data_source(e: Evidence) -> str | None:
    """Which dataset it is."""
    if e.description is None:
        return None
    return (
        f"Dataset {e.dataset}: {e.description.num_training} cases with masks or classes, files "
        f"{e.description.file_ending}."
    )


def image_channels(e: Evidence) -> str | None:
    """What the network sees of a case."""
    if e.description is None:
        return None
    names = ", ".join(e.description.channel_names.values())
    return f"{e.description.num_channels} image channel(s): {names}."


def case_counts(e: Evidence) -> str | None:
    """How many cases were trained on."""
    train, validation = e.run.get("train_cases"), e.run.get("validation_cases")
    if train is None or validation is None:
        return None
    return f"{len(train)} training and {len(validation)} validation cases."


def partition(e: Evidence) -> str | None:
    """Who was trained on and who was not."""
    counts = case_counts(e)
    return f"Fold {e.run['fold']} of the dataset's declared folds: {counts}" if counts else None


def disjointness(e: Evidence) -> str | None:
    """What the two sets share, counted."""
    train, validation = e.run.get("train_cases"), e.run.get("validation_cases")
    if train is None or validation is None:
        return None
    shared = len(set(train) & set(validation))
    cases = f"Training and validation share {shared} cases"
    if e.cohort is None:
        return f"{cases}; shared patients: not measured (no cases.csv found)."
    return (
        f"{cases} and {e.cohort.shared_patients} patients "
        f"({e.cohort.train_patients} and {e.cohort.validation_patients} patients)."
    )


def class_counts(e: Evidence) -> str | None:
    """How many cases every class has."""
    if e.cohort is None or not e.cohort.classes:
        return None
    told = [f"{c.task} {c.name}: {c.train} + {c.validation}" for c in e.cohort.classes]
    return f"Cases of each class, training + validation: {'; '.join(told)}."


def sites(e: Evidence) -> str | None:
    """How many hospitals or scanners the table names."""
    if e.cohort is None:
        return None
    return f"The case table names {e.cohort.sites} site(s)."


def missing(e: Evidence) -> str | None:
    """What was not known, and what was done then."""
    if e.cohort is None:
        return None
    told = ", ".join(f"{count} for {task}" for task, count in e.cohort.unlabelled.items())
    return (
        f"Cases without an answer: {told or 'no task was declared'}. An unknown answer has a loss "
        "and a gradient of 0; a case is never given a class by default."
    )


def preprocessing(e: Evidence) -> str | None:
    """Every step from the file to the network."""
    steps = [cropping(e), resampling(e), normalization(e)]
    return " ".join(step for step in steps if step) if e.configuration else None


def cropping(e: Evidence) -> str | None:
    """What is cut away first."""
    return "Images are cropped to the box of their nonzero voxels." if e.configuration else None


def resampling(e: Evidence) -> str | None:
    """The grid all images are brought to."""
    if e.configuration is None:
        return None
    spacing = " x ".join(f"{size:.4g}" for size in e.configuration.spacing)
    return f"Images are resampled to {spacing} mm with {_orders(e.configuration)}."


def normalization(e: Evidence) -> str | None:
    """How intensities are scaled."""
    if e.configuration is None:
        return None
    return f"Intensities by {', '.join(e.configuration.normalization_schemes)} (per channel)."


def _orders(configuration: ConfigurationPlan) -> str:
    image, mask = (
        keywords.get("order", "an unrecorded")
        for keywords in (
            configuration.resampling_fn_data_kwargs,
            configuration.resampling_fn_seg_kwargs,
        )
    )
    return f"splines of order {image} (masks: {mask})"
