"""What the site makes of links, and what it refuses."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mkdocs.exceptions import PluginError

import docs_hooks


def moved(uri: str, markdown: str) -> str:
    """A page's text as the site has it."""
    page: Any = SimpleNamespace(file=SimpleNamespace(src_uri=uri))
    nothing: Any = None
    return docs_hooks.on_page_markdown(markdown, page=page, config=nothing, files=nothing)


@pytest.mark.parametrize(
    ("uri", "link", "place"),
    [
        ("index.md", "docs/sending.md#good-to-know", "sending.md#good-to-know"),  # the README
        ("index.md", "README.ja.md", "ja/index.md"),
        ("ja/index.md", "docs/figures/benchmarks.svg", "../figures/benchmarks.svg"),
        ("joblib.md", "../README.md", "index.md"),
        ("migration/index.md", "../sending.md", "../sending.md"),
        ("fastapi.md", "../examples/web_service.py", "source/examples/web_service.py.md"),
        ("examples.md", "stdlib_census/", "source/examples/stdlib_census.md"),
        ("examples.md", "submit.py", "source/examples/submit.py.md"),
        ("lanes.md", "nowhere.md", "nowhere.md"),  # MkDocs will say so
        ("lanes.md", "https://example.org/a.md", "https://example.org/a.md"),
        ("lanes.md", "#processes", "#processes"),
    ],
)
def test_links_of_the_repository_lead_to_pages(uri: str, link: str, place: str) -> None:
    assert moved(uri, f"[a]({link}), [b]({link})\n") == f"[a]({place}), [b]({place})\n"


def test_code_stays_as_it_is() -> None:
    code = "```python\nrows[0](README.md)\n[x](docs/lanes.md)\n```\n"
    assert moved("index.md", code) == code


def test_lines_of_japanese_are_joined_where_a_space_would_be_seen() -> None:
    text = "一行目は\n二行目に\nCで、\n* 項目が\n  続く\n\n# 題\n"
    assert moved("ja/tutorial.md", text) == "一行目は二行目に\nCで、\n* 項目が続く\n\n# 題\n"
    assert moved("tutorial.md", text) == text


def check(site: Path, **pages: str) -> None:
    for name, body in pages.items():
        (site / f"{name}.html").write_text(body)
    config: Any = SimpleNamespace(site_dir=str(site))
    docs_hooks.on_post_build(config=config)


def test_a_site_that_is_whole_passes(tmp_path: Path) -> None:
    (tmp_path / "style.css").touch()
    check(
        tmp_path,
        index='<link href="style.css"><a href="other.html?q=1#there">x</a><a href="#me" id="me">',
        other='<h2 id="there"><a href="https://example.org/">elsewhere</a><a href=".">home</a>',
    )


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ('<a href="gone.html">', "gone.html leads nowhere"),
        ('<img src="gone.svg">', "gone.svg leads nowhere"),
        ('<a href="#gone">', "#gone: there is no such place on that page"),
        ('<script src="https://example.org/x.js">', "https://example.org/x.js would be fetched"),
        ('<link href="//example.org/x.css">', "//example.org/x.css would be fetched"),
    ],
)
def test_what_is_wrong_with_a_site_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, body: str, what: str
) -> None:
    with (
        caplog.at_level(logging.ERROR, "mkdocs"),
        pytest.raises(PluginError, match="1 links of the site are wrong"),
    ):
        check(tmp_path, index=body)
    assert caplog.messages == [f"{what}: in index.html"]
