"""A browser without a screen, spoken to by the DevTools protocol through two pipes."""

import base64
import fcntl
import json
import os
import select
import subprocess
from pathlib import Path
from typing import Any, Final, Self

from support import PATIENCE

ROOT: Final = Path(__file__).parents[1]
_KEYS: Final = {"+": 187, "-": 189, "0": 48, "Enter": 13, "Escape": 27, "Tab": 9, "End": 35}
_KEYS_BEYOND: Final = {
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Home": 36,
}
_CODES: Final = _KEYS | _KEYS_BEYOND


def browser_here() -> str | None:
    """Return the program of a browser, which `tools/browser` brings; None if there is none."""
    done = subprocess.run(
        [ROOT / "tools/browser", "--here"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    return done.stdout.strip() or None


class Browser:
    """A browser of its own, with a profile of its own."""

    def __init__(self, program: str, profile: Path) -> None:
        there, self._out = os.pipe()
        self._in, back = os.pipe()
        # Beyond those that the browser wants them to have, 3 and 4.
        ends = [fcntl.fcntl(it, fcntl.F_DUPFD, 10) for it in (there, back)]
        os.close(there)
        os.close(back)
        arguments = [
            "--headless",
            "--no-sandbox",  # root has none, nor has a container: pages are our own
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
            "--force-device-scale-factor=1",
            "--hide-scrollbars",
            "--no-first-run",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ]
        plumbed = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", plumbed, "-", *map(str, ends), program, *arguments],
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in ends:
            os.close(end)
        self._buffer = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """Ask for something, and return the answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    def wait_for(self, method: str, session: str) -> dict[str, Any]:
        """Wait for an event, and return it."""
        seen = 0
        while True:
            for event in self.events[seen:]:
                if event["method"] == method and event.get("sessionId") == session:
                    return event
            seen = len(self.events)
            self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], PATIENCE)
            assert ready, "the browser does not answer"
            block = os.read(self._in, 1 << 20)
            assert block, "the browser has ended"
            self._buffer += block
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def close(self) -> None:
        """End it; all its processes end with it."""
        os.write(self._out, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        self._process.wait(PATIENCE)
        os.close(self._out)
        os.close(self._in)


class Page:
    """A tab, with a page in it."""

    def __init__(self, browser: Browser, path: Path, width: int = 1280, height: int = 900) -> None:
        self._browser = browser
        self._target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = attached["sessionId"]
        browser.events.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)
        self.call("Page.navigate", url=path.as_uri())
        browser.wait_for("Page.loadEventFired", self._session)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask for something of this tab."""
        return self._browser.call(method, self._session, **params)

    def run(self, program: str) -> Any:
        """Evaluate JavaScript, wait for what it promises, and return its value."""
        answer = self.call(
            "Runtime.evaluate", expression=program, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait for what becomes true with a change of the document."""
        self.run(
            f"new Promise((done) => {{ const see = () => ({condition}) && done(true);"
            "new MutationObserver(see).observe(document, {subtree: true, childList: true,"
            " attributes: true, characterData: true}); see(); })"
        )

    def drawn(self) -> None:
        """Wait until what was asked for has been drawn."""
        self.run("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")

    def resize(self, width: int, height: int) -> None:
        """Give it another size."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def prefer(self, scheme: str) -> None:
        """Prefer `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Do something with the mouse: `mouseMoved`, `mouseWheel` and so on."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key, and let it go."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=_CODES[key],
                modifiers=8 * shift,
            )

    def problems(self) -> list[str]:
        """Return what the console has been told, and what went wrong."""
        self.run("0")  # all that was told before is here by then
        bad = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}
        return [json.dumps(it["params"]) for it in self._events() if it["method"] in bad]

    def requests(self) -> list[str]:
        """Return what has been fetched."""
        asked = (it for it in self._events() if it["method"] == "Network.requestWillBeSent")
        return [it["params"]["request"]["url"] for it in asked]

    def _events(self) -> list[dict[str, Any]]:
        return [it for it in self._browser.events if it.get("sessionId") == self._session]

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write what is seen, or the whole page, as a picture."""
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)
