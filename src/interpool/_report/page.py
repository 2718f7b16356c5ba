"""The page: its parts, its program and its data in one file, which loads nothing."""

import base64
import hashlib
import json
import zlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from interpool._report import sections
from interpool._report.data import Advice, Figures
from interpool._report.markup import Markup, html
from interpool._report.timeline import payload

# In the order in which they need each other.
_SCRIPTS: Final = ("decode", "words", "tip", "view", "overview", "timeline", "main")


def page(of: Figures, advice: Sequence[Advice]) -> str:
    """Make the page.

    Whatever a task was given or has raised is text in it, never markup; and were it not, the page's
    own policy would let nothing run but the program that is meant, and nothing be fetched.
    """
    given = payload(of.trace, of.wall * 1e6)
    script = _script()
    style = Markup(_asset("page.css"))
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    title = sections.title(of)
    return html(t"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,">
<title>{title}: interpool</title>
<style>{style}</style>
</head>
<body>
{sections.header(of)}
<main>
{sections.tiles(of)}
{sections.advice(advice)}
{sections.timeline(of, given["resolution"])}
{sections.shares(of)}
{sections.slowest(of)}
{sections.failures(of)}
<div class="two">
{sections.functions(of)}
{sections.lanes(of)}
{sections.imports(of)}
{sections.transfers(of)}
{sections.happened(of)}
</div>
</main>
{sections.footer(of)}
<div id="tip" role="tooltip" hidden></div>
<script type="application/octet-stream" id="data">{_packed(given)}</script>
<script>{script}</script>
</body>
</html>
""")


def _packed(given: dict[str, Any]) -> str:
    text = json.dumps(
        given, ensure_ascii=False, separators=(",", ":"), default=str, allow_nan=False
    )
    # Lone surrogates, of file names say, are no text: they are shown as the question mark they are.
    return base64.b64encode(zlib.compress(text.encode(errors="replace"), 9)).decode()


def _script() -> Markup:
    parts = "\n".join(_asset(f"{name}.js") for name in _SCRIPTS)
    return Markup(f'"use strict";\n(() => {{\n{parts}}})();\n')


def _asset(name: str) -> str:
    return (files("interpool._report") / "assets" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
