"""Shell scripts from templates; whatever comes from outside is quoted by `| sh`."""

import shlex

from jinja2 import Environment, PackageLoader, StrictUndefined


def render_script(template: str, **values: object) -> str:
    """A shell script; the filter `sh` makes one word of a value, whatever is in it."""
    environment = Environment(
        loader=PackageLoader("segduet.scale.rendering", "templates"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  # not HTML; `sh` quotes
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["sh"] = lambda value: shlex.quote(str(value))
    return environment.get_template(template).render(**values)
