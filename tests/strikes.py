"""Strikes at each step of what a task does: what an exception that may come anywhere leaves."""

import _thread
import queue
import sys
import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any

import pytest

from interpool._inside import gate as gates
from support import PATIENCE

TASK = 7


class Caller(threading.Thread):
    """A thread that calls a function once."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        super().__init__(daemon=True)
        self._call = function, args
        self.outcome: futures.Future[Any] = futures.Future()
        self.start()

    def run(self) -> None:
        function, args = self._call
        try:
            self.outcome.set_result(function(*args))
        except BaseException as error:
            self.outcome.set_exception(error)

    def result(self) -> Any:
        try:
            return self.outcome.result(PATIENCE)
        finally:
            self.join(PATIENCE)


class StrikeAt:
    """Strikes this thread's task where CPython would look for it the n-th time in our code.

    That is where a function begins, where a loop goes back, and behind a call of C code.
    """

    def __init__(self, n: int, ours: frozenset[str]) -> None:
        self.left = n
        self._ours = ours
        self.thread = _thread.get_ident()

    def note(self, code: Any, *_: object) -> None:
        # What lands in a finalizer, CPython shows and drops.
        if code.co_filename not in self._ours or code.co_name in {"__del__", "forget"}:
            return
        if _thread.get_ident() != self.thread:
            return
        self.left -= 1
        if self.left == -1:
            if gates.armed.pop(TASK, None) is None:
                gates.condemn(TASK)
            else:
                raise gates.Interrupted

    def run(self, call: Callable[[], Any]) -> tuple[Any, bool]:
        """Return what the call returned or raised, and whether the strike came in time."""
        monitoring = sys.monitoring
        events = monitoring.events
        tool = monitoring.DEBUGGER_ID
        monitoring.use_tool_id(tool, "strikes")
        try:
            for event in (events.PY_START, events.JUMP, events.C_RETURN):
                monitoring.register_callback(tool, event, self.note)
            outcome: Any = None
            try:
                gates.open_gate(TASK)
                monitoring.set_events(tool, events.PY_START | events.JUMP | events.CALL)
                outcome = call()
                monitoring.set_events(tool, 0)
                gates.close_gate(TASK)
            except gates.Interrupted as error:
                outcome = error
            except (queue.Empty, queue.Full) as error:
                monitoring.set_events(tool, 0)
                gates.close_gate(TASK)
                outcome = error
        finally:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)
            gates.armed.pop(TASK, None)
            gates.running.clear()
            gates.forget(TASK)
        return outcome, self.left < 0


def run_with_strikes(ours: frozenset[str], attempt: Callable[[StrikeAt], bool]) -> int:
    """Attempt with a strike one step later each time, until it comes too late.

    Args:
        ours: files of the code in which steps are counted.
        attempt: returns whether the strike came in time. It is called in a thread of its own.

    Returns:
        How many steps there were.
    """
    for n in range(10_000):
        if not Caller(lambda: attempt(StrikeAt(n, ours))).result():  # noqa: B023 - it ends here
            return n
    pytest.fail("it never came too late")
