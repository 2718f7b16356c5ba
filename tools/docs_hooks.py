"""What MkDocs is told about this repository, by its hooks (`mkdocs.yml`).

The pages are in docs/, and so that they read as well where there is no site, their links are those
of the repository: to the README, to programs, to tests. So what they lead to becomes part of the
site: texts as pages, programs as pages with their source. When the site is written, every link in
it is followed, and nothing may be fetched from elsewhere: either ends the build.
"""

import html.parser
import logging
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, override
from urllib.parse import unquote, urldefrag, urlsplit

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.nav import Navigation
    from mkdocs.structure.pages import Page
    from mkdocs.utils.templates import TemplateContext

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = "docs/"
# Texts of the repository that are pages of the site, and where they are there.
TEXTS: Final = {
    "README.md": "index.md",
    "README.ja.md": "ja/index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "examples/README.md": "examples.md",
}
_LANGUAGES: Final = {"": "text", ".py": "python", ".txt": "text", ".md": "markdown"}
_LINK: Final = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
_ALTERNATE: Final = re.compile(r"\s*<link rel=\"alternate\"[^>]*>")
_JAPANESE: Final = "ja/"
# Between two lines of Japanese, where a space would be seen.
_BREAK: Final = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n *(?=[\u3000-\u9fff\uff00-\uffef])")
_FENCE: Final = re.compile(r"\s*(```|~~~)")

_log: Final = logging.getLogger("mkdocs.hooks.repository")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what lies outside of docs/ and is a page, and what a link leads to."""
    for path, uri in TEXTS.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, uri, content=text))
    for path in sorted(_sources(files)):
        files.append(File.generated(config, _place(path), content=_source_page(path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to where in the site their targets are."""
    del config, files
    origin = _origin(page.file.src_uri)

    def moved(found: re.Match[str]) -> str:
        target, fragment = urldefrag(found[0])
        path = _target(origin, target)
        if path is None or (path.startswith(DOCS) and origin.startswith(DOCS)):
            return found[0]
        place = posixpath.relpath(_place(path), posixpath.dirname(page.file.src_uri) or ".")
        return f"{place}#{fragment}" if fragment else place

    text = "".join(
        line if is_code else _LINK.sub(moved, line) for line, is_code in _lines(markdown)
    )
    return _BREAK.sub("", text) if _is_japanese(page) else text


def on_page_context(
    context: TemplateContext, *, page: Page, config: MkDocsConfig, nav: Navigation
) -> TemplateContext:
    """Let the switch of languages lead to the same page in the other one, if there is one."""
    urls = {it.file.src_uri: it.url for it in nav.pages}
    name = page.file.src_uri.removeprefix(_JAPANESE)
    english, japanese = config.extra["alternate"]
    english["link"] = urls.get(name, "index.html")
    japanese["link"] = urls.get(_JAPANESE + name, "ja/index.html")
    return context


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Say in which language a page is: browsers choose glyphs by it.

    Alternates in the head would have the theme fetch a map of each language's site; there is one.
    """
    del config
    output = _ALTERNATE.sub("", output)
    return output.replace('lang="en"', 'lang="ja"', 1) if _is_japanese(page) else output


def on_post_build(*, config: MkDocsConfig) -> None:
    """Follow every link of the site that was written, and let it be searched without a server.

    Raises:
        PluginError: if one leads nowhere, or a page would have something fetched from elsewhere.
    """
    site = Path(config.site_dir)
    # A page that was opened from a file may run a script beside it, and read nothing else there.
    index = site / "search" / "search_index.json"
    if index.exists():
        index.with_suffix(".js").write_text(f"var __index = {index.read_text('utf-8')}", "utf-8")
    pages = {path: _Parsed(path) for path in sorted(site.rglob("*.html"))}
    wrong = defaultdict[str, list[str]](list)
    for path, parsed in pages.items():
        for what in _wrong(path, parsed, pages):
            wrong[what].append(str(path.relative_to(site)))
    for what, where in wrong.items():
        _log.error("%s: in %s", what, ", ".join(where[:3]) + (", ..." if where[3:] else ""))
    if wrong:
        raise PluginError(f"{len(wrong)} links of the site are wrong")


# --- Where things are ----------------------------------------------------------------------------


def _is_japanese(page: Page) -> bool:
    return page.file.src_uri.startswith(_JAPANESE)


def _origin(uri: str) -> str:
    """Return where in the repository the text of a page is."""
    for path, place in TEXTS.items():
        if place == uri:
            return path
    return DOCS + uri


def _target(origin: str, link: str) -> str | None:
    """Return what of the repository a link leads to; None if nothing of it."""
    if not link or urlsplit(link).scheme:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), unquote(link)))
    return path if (ROOT / path).exists() else None  # else MkDocs says so


def _place(path: str) -> str:
    """Return where in the site a file of the repository is."""
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    return TEXTS.get(path) or f"source/{path}.md"


def _sources(files: Files) -> Iterator[str]:
    """Find what pages link to that is no page."""
    origins = {_origin(file.src_uri) for file in files.documentation_pages()}
    found = set[str]()
    for origin in origins:
        for line, is_code in _lines((ROOT / origin).read_text(encoding="utf-8")):
            if is_code:
                continue
            for link in _LINK.findall(line):
                path = _target(origin, urldefrag(link).url)
                if path is not None and not path.startswith(DOCS) and path not in TEXTS:
                    found.add(path)
                    if (ROOT / path).is_dir():
                        found |= {f"{path}/{it.name}" for it in (ROOT / path).glob("*.py")}
    yield from found


def _source_page(path: str) -> str:
    file = ROOT / path
    if file.is_dir():
        rows = [f"* [{it.name}]({file.name}/{it.name}.md)" for it in sorted(file.glob("*.py"))]
        return "\n".join([f"# {path}", "", *rows, ""])
    language = _LANGUAGES[file.suffix]
    source = file.read_text(encoding="utf-8")
    return f'# {path}\n\n`````{language} linenums="1"\n{source}`````\n'


def _lines(markdown: str) -> Iterator[tuple[str, bool]]:
    """Yield each line, and whether it is code."""
    is_code = False
    for line in markdown.splitlines(keepends=True):
        is_fence = _FENCE.match(line) is not None
        yield line, is_code or is_fence
        is_code ^= is_fence


# --- What was written ----------------------------------------------------------------------------


class _Parsed(html.parser.HTMLParser):
    """What of a page matters here.

    Attributes:
        anchors: names that links may have behind `#`.
        links: where its links lead.
        fetched: what a browser fetches when it shows the page.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors = set[str]()
        self.links = list[str]()
        self.fetched = list[str]()
        self.feed(path.read_text(encoding="utf-8"))

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        self.fetched += [values[name] for name in ("src", "srcset", "data") if name in values]
        if "href" in values:
            is_fetched = tag == "link" and "canonical" not in values.get("rel", "")
            (self.fetched if is_fetched else self.links).append(values["href"])


def _wrong(path: Path, parsed: _Parsed, pages: dict[Path, _Parsed]) -> Iterator[str]:
    for url in parsed.fetched:
        if urlsplit(url).scheme not in {"", "data"} or url.startswith("//"):
            yield f"{url} would be fetched"
    for url in [*parsed.fetched, *parsed.links]:
        if urlsplit(url).scheme or url.startswith("//"):
            continue
        place, fragment = urldefrag(url)
        target = (path.parent / unquote(urlsplit(place).path)).resolve() if place else path
        if path.name == "404.html" and place.startswith("/"):
            continue  # a server shows it for any path, so its links begin at the root
        if target.is_dir():
            target /= "index.html"
        if not target.exists():
            yield f"{url} leads nowhere"
        elif fragment and target in pages and unquote(fragment) not in pages[target].anchors:
            yield f"{url}: there is no such place on that page"
