"""`segduet document`: texts about one training, from what lies on disk (F89-F91, F97, B21)."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segduet.core.errors import RequestError
from segduet.core.files import write_text
from segduet.core.folders import DataRoot
from segduet.core.manifest import RunManifest, utc
from segduet.reporting.documents.catalogue import DOCUMENTS
from segduet.workflows.run_evidence import gather_evidence
from segduet.workflows.run_record import RUN_RECORD


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRequest:
    """What to write.

    Attributes:
        run: run folder of `segduet train`.
        evaluation: folder of `segduet evaluate`; None takes the run's own validation, if any.
        out: folder for the documents.
        only: names of the documents; none means all.
    """

    run: Path
    out: Path
    evaluation: Path | None = None
    only: Sequence[str] = ()


def document(root: DataRoot, request: DocumentRequest) -> RunManifest:
    """Writes the documents and the manifest; what is absent on disk reads "not measured".

    The same artefacts give the same bytes, but for the manifest.

    Raises:
        RequestError: no run folder, no evaluation folder, or an unknown document.
        DataError: a damaged artefact.
    """
    started = time.time()
    names = _chosen(request.only)
    _require_run(request.run)
    evidence, warnings = gather_evidence(
        root, request.run, request.evaluation, with_network=_needs_network(names)
    )
    texts = {file: write(evidence) for name in names for file, write in DOCUMENTS[name].items()}
    for file, text in texts.items():
        write_text(request.out / file, text)
    manifest = RunManifest(
        command="document",
        arguments={
            "run": str(request.run),
            "evaluation": str(request.evaluation) if request.evaluation else None,
            "only": list(names),
        },
        outcome={"written": [str(request.out / file) for file in texts]},
        warnings=warnings,
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(request.out)
    return manifest


def _chosen(only: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in only if name not in DOCUMENTS]
    if unknown:
        raise RequestError(
            f"--only {unknown[0]}",
            found="a document that is not written",
            expected=f"one of {', '.join(DOCUMENTS)}",
            remedy="Choose among them, or leave the option out for all.",
        )
    return tuple(dict.fromkeys(only)) or tuple(DOCUMENTS)


def _needs_network(names: Sequence[str]) -> bool:
    return not {"training_summary", "training_analysis", "model_card"}.issuperset(names)


def _require_run(folder: Path) -> None:
    if not (folder / RUN_RECORD).is_file():
        raise RequestError(
            str(folder),
            found=f"no {RUN_RECORD}",
            expected="a run folder of `segduet train`, such as .../fold_0",
            remedy="Check the path; a model folder holds its runs as fold_0, fold_1, ...",
        )
