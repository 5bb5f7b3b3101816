"""Markdown from templates in which every value from outside shows literally."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from segduet.inference.bundles.model_card import plain
from segduet.reporting.wording import NOT_MEASURED


class Markdown(str):
    """Text that is Markdown already and is not escaped again."""

    __slots__ = ()


def render(template: str, **content: Any) -> str:
    """A document of `templates/documents`, ending in one line break.

    Every value is escaped, unless it is `Markdown`; None reads "not measured".
    """
    environment = Environment(
        loader=PackageLoader("segduet.reporting", "templates/documents"),
        autoescape=False,  # noqa: S701 - not HTML: `finalize` escapes for Markdown
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**content).rstrip() + "\n"


def _shown(value: object) -> str:
    if isinstance(value, Markdown):
        return value
    return NOT_MEASURED if value is None else plain(value)
