"""What is inlined into a page: styles, scripts, data, and the policy that allows nothing else."""

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from segduet.core.version import __version__

#: NiiVue as published on npm, unchanged but for the compression; its licence lies beside it.
NIIVUE_FILE = "niivue-0.69.0.min.js.gz"
_IN_SCRIPT = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def rendered(template: str, content: Mapping[str, Any]) -> str:
    """A template of this package, filled; text from outside is escaped everywhere.

    Args:
        template: its name.
        content: what it names; `scripts` are the inline scripts of the page, which its policy
            allows, each by its hash.
    """
    environment = Environment(
        loader=PackageLoader("segduet.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template)
    policy = content_policy(content["scripts"])
    return page.render({"version": __version__, "policy": policy, **content})


def drawings(charts: Sequence[str]) -> list[Markup]:
    """Our own SVG as it stands; matplotlib and html.escape have escaped the names in it."""
    return [Markup(chart) for chart in charts]  # noqa: S704


def own_script(name: str) -> Markup:
    """One of our scripts in `templates/`, as it stands in the page."""
    return _inlined(_package_bytes("templates", name), name)


def niivue_script() -> Markup:
    """The vendored viewer library."""
    return _inlined(gzip.decompress(_package_bytes("vendor", NIIVUE_FILE)), NIIVUE_FILE)


def data_block(content: Any) -> Markup:
    """Plain types as JSON that cannot end the script element it stands in, whatever they hold."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return Markup(text.translate(_IN_SCRIPT))  # noqa: S704 (no "<" is left)


def content_policy(scripts: Sequence[str]) -> str:
    """A policy without any network, under which exactly these inline scripts run."""
    hashes = [
        "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"
        for script in scripts
    ]
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(hashes)}" if hashes else "script-src 'none'",
            "img-src data:",
            "style-src 'unsafe-inline'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _package_bytes(folder: str, name: str) -> bytes:
    return (resources.files("segduet.reporting") / folder / name).read_bytes()


def _inlined(content: bytes, name: str) -> Markup:
    # a browser turns line ends into \n before it compares the script with its hash
    text = content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    assert "</script" not in text.lower(), name
    assert "<!--" not in text, name
    return Markup(text)  # noqa: S704 (our own file)
