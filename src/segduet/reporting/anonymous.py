"""A report that names nobody: numbers instead of case ids, and no file names."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from segduet.reporting.case_order import worst_first
from segduet.reporting.case_pictures import CasePictures
from segduet.reporting.html_report import ReportInputs


def without_names(inputs: ReportInputs) -> ReportInputs:
    """The same inputs with cases called `case 1`, `case 2`, ..., the worst one first.

    Of the records, lists and texts with a slash are left out: they name cases, files and folders.
    """
    ranked = worst_first(inputs.cases, inputs.labels)
    names = {case.case: f"case {number}" for number, case in enumerate(ranked, start=1)}
    return replace(
        inputs,
        cases=[replace(case, case=names[case.case], patient="") for case in inputs.cases],
        pictures=[_renamed(picture, names[picture.case]) for picture in inputs.pictures],
        record={name: _impersonal(content) for name, content in inputs.record.items()},
    )


def _renamed(picture: CasePictures, name: str) -> CasePictures:
    volumes = picture.volumes and {**picture.volumes, "case": name}
    return replace(picture, case=name, volumes=volumes)


def _impersonal(content: Mapping[str, Any]) -> dict[str, Any]:
    kept = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            kept[key] = _impersonal(value)
        elif not isinstance(value, list) and not (isinstance(value, str) and "/" in value):
            kept[key] = value
    return kept
