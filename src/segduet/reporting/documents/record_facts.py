"""Sentences about how answers were made and where the records lie, read from manifests."""

from segduet.reporting.documents.evidence import Evidence

_NOT_RECORDED = "not recorded"


def ensembling(e: Evidence) -> str | None:
    """How many networks answered."""
    arguments = (e.prediction_manifest or {}).get("arguments")
    if not arguments:
        return None
    folds, also = arguments.get("folds") or (), arguments.get("also") or ()
    rule = f", {arguments['ensemble']} mean" if arguments.get("ensemble") else ""
    return f"{len(folds)} fold(s) of one model and {len(also)} other model(s) answered{rule}."


def inference(e: Evidence) -> str | None:
    """How windows became answers."""
    arguments = (e.prediction_manifest or {}).get("arguments")
    if not arguments or arguments.keys().isdisjoint(("step", "mirrored", "mode", "aggregation")):
        return None
    mirrored = {True: "yes", False: "no"}.get(arguments.get("mirrored"), _NOT_RECORDED)
    return (
        f"Sliding windows at a step of {arguments.get('step', _NOT_RECORDED)} of the patch, "
        f"mirrored: {mirrored}, mode {arguments.get('mode', _NOT_RECORDED)}, classes aggregated "
        f"over windows by {arguments.get('aggregation', _NOT_RECORDED)}."
    )


def runtime(e: Evidence) -> str | None:
    """How long prediction took, as an average; no benchmark."""
    if not e.case_seconds:
        return None
    count = len(e.case_seconds)
    return (
        f"{sum(e.case_seconds) / count:.2f} s per case on average, n = {count} cases, without "
        "reading, writing and start; no interval. The command segduet bench measures it properly."
    )


def postprocessing(e: Evidence) -> str | None:
    """What was done to the label maps."""
    if e.prediction_manifest is None:
        return None
    plan = e.prediction_manifest.get("outcome", {}).get("cleanup")
    if not plan:
        return "None: label maps are the network's decision."
    return "Cleaned up by a learned plan, recorded in manifest.json beside the predictions."


def records(e: Evidence) -> str:
    """Which files hold the details."""
    return f"In the run folder: {', '.join(e.files)}."


def model_file(e: Evidence) -> str | None:
    """Which weights these are."""
    return f"model.safetensors, SHA-256 {e.model_sha256}." if e.model_sha256 else None


def reproduction(e: Evidence) -> str | None:
    """The commands, as far as the record knows them."""
    arguments = (e.training_manifest or {}).get("arguments")
    if not arguments or not {"dataset", "configuration", "fold"} <= arguments.keys():
        return None
    return (
        f"segduet train {arguments['dataset']} --configuration {arguments['configuration']} --fold "
        f"{arguments['fold']} with the recipe in run.json (seed {e.run['seed']}), then segduet "
        "predict, segduet evaluate, segduet document."
    )
