"""What interpreters share, done for a worker process: main's end of `interpool._inside.relay`.

For each connection of the process a thread takes what is asked for, does it, and answers. One more
waits at the switchboard for new connections; it starts with the first one, which the process's host
sees. It guarantees, beside what is said there:

* **Nothing of a process stays when it has ended.** `end` cancels what its threads wait for, undoes
  what was not acknowledged, releases what they hold (`release_all`), and returns when they have
  ended: before anybody hears that the process has.
* **A process holds what it has said that it has, and nothing else.** What it lets go of it does not
  keep locked either, for nobody there could release it any more.
* **No wait here outlasts who it is for.** A thread that waits for a bell looks at its connection,
  too (`bells.alarms`), on which nothing comes meanwhile but a cancellation, or the end.

"Main" is whoever has the pool: a worker interpreter may, or another worker process, which asks its
own main in turn.
"""

import _thread
import contextlib
import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar, Final

from interpool import _threads
from interpool._inside import bells, descriptors, framing, handles, sharing, values, wire
from interpool._reports import report

type Done = tuple[Any, Callable[[], object] | None, int]
"""What came of something: the result, what undoes it, a descriptor to send along that is to be
closed afterwards, or -1."""

type Place = tuple[str, str]
"""Module and class of what is shared."""

# What a process can be told of an exception's arguments: what marshal carries, and is no handle.
_PLAIN: Final = frozenset({str, bytes, int, float, bool, type(None)})


class Relay:
    """What is done for one process."""

    def __init__(self, switchboard: socket.socket, name: str) -> None:
        """Args: where the process asks for connections, and how it is called."""
        self._switchboard = switchboard
        self._name = name
        self._lock = threading.Lock()
        # What the process holds, and how often it has said so more than taken it back.
        self._held: dict[wire.Key, Any] = {}
        self._memories: dict[descriptors.Identity, int] = {}
        self._counts: Counter[wire.Key] = Counter()
        self._connections: set[_Connection] = set()
        self._threads: set[threading.Thread] = set()
        self._made = 0
        self._is_ended = False
        self._thread = _threads.make(self._listen, f"{name}_relay")

    def start(self) -> None:
        """Listen at the switchboard, in a thread. If the system gives none, hang up."""
        try:
            self._thread.start()
        except RuntimeError as error:
            report(logging.ERROR, "a worker process cannot be served: %s", error)
            self._switchboard.close()

    def end(self) -> None:
        """End all connections: the process has ended. Returns when the threads have."""
        with self._lock:
            self._is_ended = True
            with contextlib.suppress(OSError):  # it is closed
                self._switchboard.shutdown(socket.SHUT_RDWR)
            for connection in self._connections:
                connection.hang_up()
            threads = [*self._threads]
        if self._thread.ident is not None:
            threads.append(self._thread)
        for thread in threads:
            thread.join()
        self.disown()

    def disown(self) -> None:
        """Close what is open: in a forked child it is somebody else's."""
        self._switchboard.close()
        for connection in [*self._connections]:
            connection.wire.close()
        self._held.clear()
        while self._memories:
            os.close(self._memories.popitem()[1])

    # --- connections -----------------------------------------------------------------------------

    def _listen(self) -> None:
        with self._switchboard as switchboard:
            while True:
                try:
                    data, fds, _, _ = socket.recv_fds(switchboard, 1, 1, framing.FLAGS)
                except OSError as error:
                    report(logging.ERROR, "a worker process cannot be served: %s", error)
                    return
                if not data:
                    return
                for fd in fds:  # none, if there is none free: the process is hung up on
                    self._connect(socket.socket(fileno=fd))

    def _connect(self, sock: socket.socket) -> None:
        connection = _Connection(self, sock)

        def run() -> None:
            try:
                connection.serve()
            except BaseException as error:  # ours: the process is hung up on
                report(logging.CRITICAL, "what a worker process asked for failed", error=error)
            finally:
                connection.close()
                with self._lock:
                    self._connections.discard(connection)

        self._made += 1
        thread = _threads.make(run, f"{self._name}_relay_{self._made}")
        with self._lock:
            if not self._is_ended:
                try:
                    thread.start()
                except RuntimeError as error:
                    report(logging.ERROR, "a worker process cannot be served: %s", error)
                else:
                    self._threads = {thread, *(it for it in self._threads if it.is_alive())}
                    self._connections.add(connection)
                    return
        sock.close()

    # --- what the process holds ------------------------------------------------------------------

    def find(self, key: wire.Key) -> Any:
        """Return what the process holds."""
        return self._held[key]

    def hold(self, place: Place, core: Any) -> sharing.State:
        """Hold something for the process; return its state, which is good as long."""
        key = *place, core.identity
        with self._lock:
            self._held.setdefault(key, core)
            self._counts[key] += 1
            state: sharing.State = self._held[key].state(is_kept=True)
        return state

    def hold_memory(self, nbytes: int) -> tuple[wire.Memory, int]:
        """Make memory and hold it for the process; return its state, and its descriptor."""
        fd = descriptors.create_memory(nbytes)
        identity = descriptors.identity_of(fd)
        with self._lock:
            self._memories[identity] = fd
        return (os.getpid(), fd, identity), fd

    def drop(self, keys: list[wire.Key]) -> None:
        """Let go of what the process has let go of."""
        for key in keys:
            module, _, identity = key
            with self._lock:
                if not module:
                    fd = self._memories.pop(identity, -1)
                    core = None
                else:
                    fd = -1
                    self._counts[key] -= 1
                    core = None if self._counts[key] else self._held.pop(key)
                    if core is not None:
                        del self._counts[key]
                holders = [it.who for it in self._connections]
            if fd != -1:
                os.close(fd)
            if core is not None:
                _release(core, holders)
            del core

    def release(self, who: int) -> None:
        """Release what a thread of the process holds, which has ended."""
        with self._lock:
            cores = [*self._held.values()]
        for core in cores:
            _release(core, [who])


def _release(core: Any, holders: list[int]) -> None:
    release_all = getattr(core, "release_all", None)
    if release_all is not None:
        for who in holders:
            release_all(who)


def _class_of(place: Place) -> Any:
    module, name = place
    found = getattr(values.module_inside(module), name)
    if not hasattr(found, "REMOTE"):
        message = f"{name} is nothing that processes share"
        raise RuntimeError(message)
    return found


class _Connection:
    """A connection of one thread of the process, and what is asked by it."""

    def __init__(self, owner: Relay, sock: socket.socket) -> None:
        self._owner = owner
        self.wire = wire.Wire(sock)
        self.who = 0

    def hang_up(self) -> None:
        """End it: the thread that serves it notices, whatever it waits for."""
        with contextlib.suppress(OSError):
            self.wire.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it."""
        self.wire.close()

    def serve(self) -> None:
        """Do what is asked for until nothing is any more."""
        thread = _thread.get_ident()
        try:
            first = self.wire.receive()
            if first is None:
                return
            (self.who,), _ = first
            while (asked := self._next()) is not None:
                bells.alarms[thread] = self.wire.socket.fileno()
                try:
                    done = self._do(*asked)
                finally:
                    bells.alarms.pop(thread, None)
                if done is not None:
                    self._give(*done)
                del asked, done
        except BrokenPipeError, ConnectionResetError:  # it has ended before it was answered
            pass
        finally:
            self._owner.release(self.who)

    def _next(self) -> tuple[tuple[Any, ...], list[Any]] | None:
        """Wait for what is asked next; None if nothing is any more."""
        while True:
            try:
                return self.wire.receive()
            except BrokenPipeError, ConnectionResetError:
                return None
            except OSError as error:  # no descriptor for its memory: what it said is lost
                self._fail(error)

    def _do(self, head: tuple[Any, ...], body: list[Any]) -> Done | None:
        """Do what is asked for; return what is to be given, if anything."""
        kind, *asked = head
        if kind == wire.CANCEL:  # too late
            self.wire.send(wire.CANCELLED)
        elif kind == wire.DROP:
            self._owner.drop(*asked)
        elif self.wire.has_more:  # it can be one thing only
            self._cancelled()
        else:
            try:
                return self._DOES[kind](self, body, *asked)
            except bells.Cancelled:
                self._cancelled()
            except Exception as error:
                self._fail(error)
        return None

    def _cancelled(self) -> None:
        """Say that what was asked for has not been done, if that was wanted."""
        if self.wire.receive() is not None:
            self.wire.send(wire.CANCELLED)

    # --- what can be asked for -------------------------------------------------------------------

    def _call(self, args: list[Any], key: wire.Key, name: str) -> Done:
        core = self._owner.find(key)
        kind = _class_of(key[:2])
        if name not in kind.REMOTE:
            message = f"{name} is nothing that processes may call"
            raise RuntimeError(message)
        result = getattr(core, name)(*args)
        undo = getattr(kind, "UNDO", {}).get(name)
        return result, undo and (lambda: undo(core, args, result)), -1

    def _hold(self, _: list[Any], place: Place, state: sharing.State, name: str) -> Done:
        core = handles.core_of(_class_of(place), state, name)
        return self._owner.hold(place, core), None, -1

    def _make(self, args: list[Any], place: Place) -> Done:
        return self._owner.hold(place, handles.make(_class_of(place), *args)), None, -1

    def _make_own(self, _: list[Any], key: wire.Key) -> Done:
        state = self._owner.find(key).state(is_kept=False)
        return state, lambda: _close({*state[1:4]}), -1

    def _memory(self, _: list[Any], state: wire.Memory) -> Done:
        return None, None, descriptors.duplicate(*state[1:])

    def _make_memory(self, _: list[Any], nbytes: int) -> Done:
        state, fd = self._owner.hold_memory(nbytes)
        return state, None, os.dup(fd)

    def _make_own_memory(self, _: list[Any], state: wire.Memory) -> Done:
        pid, fd, identity = state
        own = descriptors.duplicate(fd, identity)
        return (pid, own, identity), lambda: _close({own}), -1

    def _close(self, _: list[Any], fds: list[int]) -> Done:
        _close({*fds})
        return None, None, -1

    _DOES: ClassVar[dict[int, Callable[..., Done]]] = {
        wire.CALL: _call,
        wire.HOLD: _hold,
        wire.MAKE: _make,
        wire.GIVE: _make_own,
        wire.MEMORY: _memory,
        wire.MAKE_MEMORY: _make_memory,
        wire.GIVE_MEMORY: _make_own_memory,
        wire.CLOSE: _close,
    }

    # --- answers ---------------------------------------------------------------------------------

    def _give(self, result: Any, undo: Callable[[], object] | None, fd: int) -> None:
        """Send what came of something; undo it if it is not wanted."""
        is_taken = False
        try:
            try:
                data, memory = wire.pack((wire.DONE,), (result,), fd)
            except (OSError, ValueError, MemoryError) as error:  # there is no memory to share
                self._undo(undo)
                undo = None
                self._fail(error)
                return
            try:
                self.wire.send_packed(data, memory)
            finally:
                if memory != -1:
                    os.close(memory)
                    fd = -1 if memory == fd else fd
            if undo is None:
                return
            answer = self.wire.receive()
            is_taken = answer is not None and answer[0] == (wire.ACKNOWLEDGE,)
        finally:
            if fd != -1:
                os.close(fd)
            if undo is not None and not is_taken:
                self._undo(undo)
        if answer is not None and not is_taken:
            self.wire.send(wire.CANCELLED)

    def _undo(self, undo: Callable[[], object] | None) -> None:
        if undo is None:
            return
        try:
            undo()
        except Exception as error:
            message = "what a worker process did not want any more is lost"
            report(logging.ERROR, message, error=error)

    def _fail(self, error: BaseException) -> None:
        """Say what was raised."""
        kind = type(error)
        args = error.args if _PLAIN.issuperset(map(type, error.args)) else None
        self.wire.send(wire.FAILED, kind.__module__, kind.__name__, args, str(error))


def _close(fds: set[int]) -> None:
    for fd in fds:
        os.close(fd)
