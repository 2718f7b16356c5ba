"""The report's page, in a browser: it is drawn, and answers to the pointer and to the keys."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import interpool
from browsing import Browser, Page, browser_here
from report_traces import MS, Traced, failing, long, ordinary

READY = "document.documentElement.dataset.ready === 'yes'"
HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = browser_here()
    if program is None:
        message = "there is no browser: tools/browser brings one"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    made = Browser(program, tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


class Made(NamedTuple):
    """Pages, by what they show."""

    ordinary: Path
    failing: Path
    long: Path
    hostile: Path
    empty: Path


def hostile() -> Traced:
    traced = Traced(1, command=HOSTILE)
    tid = traced.worker(HOSTILE)
    why = {"function": HOSTILE, "error": HOSTILE, "outcome": "failed", "why": HOSTILE}
    traced.run(tid, 0, 50 * MS, HOSTILE, **why)
    return traced.instant(tid, 90 * MS, HOSTILE, **{HOSTILE: HOSTILE})


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("pages")
    made = {"ordinary": ordinary(), "failing": failing(), "hostile": hostile()}
    # So many that they are merged, by a limit that is lower than the usual one.
    made["long"] = long(20_000, 4)
    made["empty"] = Traced()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("interpool._report.timeline._SPANS", 2_000)
        for name, traced in made.items():
            interpool.report(traced.as_dict(), folder / f"{name}.html")
    return Made(**{name: folder / f"{name}.html" for name in made})


def opened(browser: Browser, path: Path, width: int = 1280) -> Page:
    page = Page(browser, path, width)
    page.until(READY)
    page.drawn()
    return page


def box_of(page: Page, name: str) -> dict[str, float]:
    found: dict[str, float] = page.run(
        f"(() => {{ const it = document.getElementById('{name}');"
        "it.scrollIntoView({block: 'center'});"
        "const {x, y, width, height} = it.getBoundingClientRect();"
        "return {x, y, width, height}; })()"
    )
    return found


def window(page: Page) -> tuple[float, float]:
    """Which part of the run is seen, in microseconds."""
    page.drawn()
    seen: dict[str, Any] = page.run("({...document.getElementById('tracks').dataset})")
    return float(seen["from"]), float(seen["to"])


def tip(page: Page) -> str:
    told: str = page.run(
        "(() => { const it = document.getElementById('tip');"
        "return it.hidden ? '' : it.innerText })()"
    )
    return told


def colours_drawn(page: Page, name: str) -> int:
    """How many colours there are on a canvas."""
    count: int = page.run(
        f"(() => {{ const it = document.getElementById('{name}');"
        "const {data} = it.getContext('2d').getImageData(0, 0, it.width, it.height);"
        "return new Set(new Uint32Array(data.buffer)).size })()"
    )
    return count


@pytest.mark.parametrize("name", Made._fields)
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 420)])
def test_it_is_drawn_without_a_complaint(
    browser: Browser, pages: Made, name: str, scheme: str, width: int
) -> None:
    with Page(browser, getattr(pages, name), width) as page:
        page.prefer(scheme)
        page.until(READY)
        page.drawn()
        assert page.problems() == []
        assert page.requests() == [getattr(pages, name).as_uri()]
        if name != "empty":
            assert colours_drawn(page, "tracks") > 4
            assert colours_drawn(page, "overview") > 3
        page.run("document.getElementById('tracks').focus()")
        for key in ("ArrowRight", "ArrowDown", "Home", "End", "Enter", "Escape"):
            page.press(key)
        assert page.problems() == []
        # Nothing is wider than the window; what is, scrolls by itself.
        assert page.run("document.documentElement.scrollWidth <= innerWidth")


def test_light_and_dark_are_told_apart_by_more_than_the_ground(
    browser: Browser, pages: Made
) -> None:
    with opened(browser, pages.ordinary) as page:
        grounds = []
        for scheme in ("light", "dark"):
            page.prefer(scheme)
            page.drawn()
            page.drawn()  # the change is told first, and drawn then
            grounds.append(
                page.run(
                    "[getComputedStyle(document.body).backgroundColor,"
                    "[...document.getElementById('tracks').getContext('2d')"
                    ".getImageData(innerWidth / 2, 3, 1, 1).data].join()]"
                )
            )
        assert grounds[0][0] != grounds[1][0]
        assert grounds[0][1] != grounds[1][1]


def test_hovering_tells_what_ran(browser: Browser, pages: Made) -> None:
    with opened(browser, pages.ordinary) as page:
        box = box_of(page, "tracks")
        middle = box["y"] + 3.5 * 28  # of the fourth worker, whose last task is the longest
        page.mouse("mouseMoved", box["x"] + box["width"] - 60, middle)
        told = tip(page)
        assert told.startswith("work\n")
        for words in ("jobs.work", "(59, 'item-0059.json')", "140 ms", "done", "worker 4"):
            assert words in told
        page.mouse("mouseMoved", box["x"] + box["width"] - 60, middle - 28)
        assert "idle" in tip(page)
        page.mouse("mouseMoved", box["x"] + 20, middle)  # its name
        assert tip(page) == ""
        above = box_of(page, "overview")
        page.mouse("mouseMoved", above["x"] + above["width"] / 2, above["y"] + 20)
        assert "workers" in tip(page)
        assert "waiting" in tip(page)


def test_the_wheel_zooms_where_the_pointer_is_and_drags_choose_a_part(
    browser: Browser, pages: Made
) -> None:
    with opened(browser, pages.ordinary) as page:
        whole = window(page)
        box = box_of(page, "tracks")
        x, y = box["x"] + 132 + (box["width"] - 132) / 2, box["y"] + 30
        page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-700)
        page.until("document.getElementById('tracks').dataset.from > 0")
        seen = window(page)
        assert seen[1] - seen[0] < (whole[1] - whole[0]) / 3
        assert sum(seen) / 2 == pytest.approx(sum(whole) / 2, rel=0.01)
        assert page.run("document.getElementById('window').value").startswith("1")
        page.mouse("mousePressed", x - 200, y, button="left", clickCount=1)
        page.mouse("mouseMoved", x, y, button="left", buttons=1)
        page.mouse("mouseReleased", x + 100, y, button="left", clickCount=1)
        part = window(page)
        assert seen[0] < part[0] < part[1] < seen[1]
        # Shift moves it along.
        page.mouse("mousePressed", x, y, button="left", clickCount=1, modifiers=8)
        page.mouse("mouseMoved", x - 100, y, button="left", buttons=1, modifiers=8)
        page.mouse("mouseReleased", x - 100, y, button="left", clickCount=1, modifiers=8)
        moved = window(page)
        assert moved[0] > part[0]
        assert moved[1] - moved[0] == pytest.approx(part[1] - part[0])
        page.run("document.getElementById('zoom-all').click()")
        assert window(page) == whole
        # And in the overview: a part is chosen, and then moved.
        above = box_of(page, "overview")
        left, high = above["x"] + 132, above["y"] + 50
        page.mouse("mousePressed", left + 100, high, button="left", clickCount=1)
        page.mouse("mouseReleased", left + 300, high, button="left", clickCount=1)
        part = window(page)
        assert part[1] - part[0] == pytest.approx(whole[1] * 200 / (above["width"] - 132), rel=0.01)
        page.mouse("mousePressed", left + 600, high, button="left", clickCount=1)
        page.mouse("mouseReleased", left + 600, high, button="left", clickCount=1)
        moved = window(page)
        assert moved[0] > part[1]
        assert moved[1] - moved[0] == pytest.approx(part[1] - part[0])
        assert page.problems() == []


def test_the_keys_walk_through_what_workers_did(browser: Browser, pages: Made) -> None:
    with opened(browser, pages.failing) as page:
        whole = window(page)
        while page.run("document.activeElement.id") != "tracks":
            page.press("Tab")
        page.press("ArrowRight")
        assert tip(page).startswith("start-up: interpreter")
        page.press("ArrowRight")
        assert "idle" not in tip(page)
        assert page.run("document.getElementById('said').textContent").startswith("transfer")
        for _ in range(3):
            page.press("ArrowDown")
        assert "worker process 4" in tip(page)
        page.press("ArrowRight")
        page.press("ArrowRight")
        page.press("ArrowRight")
        told = tip(page)
        assert "ValueError: row 1 has no price: ''" in told
        assert "numpy.linalg refuses to load in an interpreter" in told
        page.press("Enter")
        seen = window(page)
        assert seen[1] - seen[0] == pytest.approx(1.5 * 5 * MS)
        page.press("ArrowRight", shift=True)
        assert window(page)[0] > seen[0]
        page.press("-")
        assert window(page)[1] - window(page)[0] == pytest.approx(3 * 5 * MS)
        page.press("+")
        page.press("0")
        assert window(page) == whole
        page.press("Escape")
        assert tip(page) == ""
        assert page.problems() == []


def test_a_table_leads_to_the_timeline(browser: Browser, pages: Made) -> None:
    with opened(browser, pages.failing) as page:
        page.run("document.querySelector('#failures button').click()")
        seen = window(page)
        assert seen[1] - seen[0] == pytest.approx(3 * 5 * MS, rel=0.01)
        assert page.run("document.activeElement.id") == "tracks"
        assert "ValueError: row 1 has no price" in tip(page)


def test_a_long_run_says_that_it_was_thinned(browser: Browser, pages: Made) -> None:
    with opened(browser, pages.long) as page:
        assert "neighbours are drawn as one" in page.run(
            "document.getElementById('thinned').textContent"
        )
        box = box_of(page, "tracks")
        x, y = box["x"] + box["width"] / 2, box["y"] + 14
        for _ in range(4):
            page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-700)
        window(page)
        told = set()
        for step in range(-250, 250, 25):
            page.mouse("mouseMoved", x + step, y)
            told.add(tip(page).partition("\n")[0].partition(" of ")[0].partition(" ")[2])
        assert "spans" in told


def test_what_tasks_are_given_never_becomes_markup(browser: Browser, pages: Made) -> None:
    with opened(browser, pages.hostile) as page:
        box = box_of(page, "tracks")
        page.mouse("mouseMoved", box["x"] + box["width"] / 3, box["y"] + 20)
        assert HOSTILE in tip(page)
        page.run("document.getElementById('tracks').focus()")
        page.press("ArrowRight")
        assert page.run("document.querySelectorAll('img').length") == 0
        assert HOSTILE in page.run("document.getElementById('said').textContent")
        # And were it markup, the policy would not let it run.
        page.run(
            "document.body.append(Object.assign(document.createElement('script'),"
            " {textContent: 'document.title = \"run\"'}))"
        )
        assert page.run("document.title") != "run"
