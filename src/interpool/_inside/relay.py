"""How a worker process takes part in what interpreters share, and what both of its ends agree on.

What is shared is in the main process alone, and whatever a worker process wants done with it a
thread of the main process does (`interpool._lanes.relay`). It guarantees:

* **A process that is killed, at any instruction, leaves nothing half done.** It has not a bit of
  the state. What it has asked for is done as a whole, or not at all.
* **What is given is given back.** What a process takes (an item, a lock) is its own when it has
  acknowledged it, which it does at once. If it ends before, or does not want it any more, main
  undoes the taking. So an item is with one process, or in the queue.
* **A task that waits can be struck.** It is shielded (`gate`) while it asks, and the strike, which
  lands nowhere then, has what is asked for cancelled. When main has said that it is, the shield is
  lifted, and the task interrupted.
* **What a process has, main has.** For as long as a `Remote` lives, main holds what it stands for.
  That it has gone, which may be noticed anywhere, is noted, and the note goes with the next thing
  asked, or at the end of the task.

How a thread asks is in `asking`, the connection that it asks by in `lines`.

In an interpreter of a worker process, nothing can be asked.
"""

import _weakref
import errno
import os
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from typing import Any

    from interpool._inside import asking, descriptors, lines, sharing, values, wire
else:
    import _interpool_values as values

    asking = values.module_inside("asking")
    lines = values.module_inside("lines")
    wire = values.module_inside("wire")

sys.modules["_interpool_relay"] = sys.modules["interpool._inside.relay"]
__name__ = "_interpool_relay"

# Of each `Remote`, a reference that notes when it has gone.
_references: dict[int, tuple[_weakref.ref[Remote], wire.Key]] = {}
# What stands for something shared, by its key.
_known: dict[wire.Key, _weakref.ref[Remote]] = {}


def _count_fork() -> None:
    _known.clear()
    _references.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def give_back(task: Hashable) -> None:
    """Have main release what this thread has acquired in a task that was struck."""
    found: list[Any] = [reference() for reference in [*_known.values()]]
    for remote in found:
        if hasattr(remote, "give_back"):
            try:
                remote.give_back(asking.who(), task)
            except OSError as error:
                if error.errno != errno.ECONNRESET:
                    raise
                return  # main ends, or hangs up: it releases what this process holds itself


def _note_gone(reference: _weakref.ref[Remote]) -> None:
    """Have main let go of what a `Remote` stood for, some time."""
    _, key = _references.pop(id(reference))
    lines.dropped.append(key)
    if _known.get(key) is reference:  # not another one's that has come since
        _known.pop(key, None)


# --- What stands for what is shared --------------------------------------------------------------


class Remote:
    """What is shared, as a worker process has it: main's, which does what is asked for.

    It has the methods that its class lists in `REMOTE`, with arguments by their places.
    """

    __slots__ = ("__weakref__", "_key", "_state")

    def __init__(self, key: wire.Key, state: sharing.State) -> None:
        """Args: the key, and main's state of it, which is good as long as this lives."""
        self._key = key
        self._state = state
        # No finalizer: while that runs, what is found in `_known` could still be this one.
        reference = _weakref.ref(self, _note_gone)
        _known[key] = reference
        _references[id(reference)] = reference, key

    def state(self, *, is_kept: bool) -> sharing.State:
        """What another interpreter or process needs to have the same: main's state.

        Args:
            is_kept: whether this one lives until that has arrived. Otherwise main makes descriptors
                for it alone.
        """
        if is_kept:
            return self._state
        found: sharing.State = asking.ask(
            (wire.GIVE, self._key), (), undo=lambda it: close(it[1:4]), is_undoable=True
        )
        return found

    @property
    def identity(self) -> descriptors.Identity:
        """By which the same is known everywhere."""
        return self._key[2]


def close(fds: Sequence[int]) -> None:
    """Have main close descriptors of its own, which were made for somebody."""
    asking.ask((wire.CLOSE, [*{*fds}]), ())


# Of each class, what stands for it.
_classes: dict[type, type[Remote]] = {}


def _class_for(core: type[sharing.Primitive]) -> type[Remote]:
    found = _classes.get(core)
    if found is None:
        undo: Any = getattr(core, "UNDO", {})
        names: Any = core.REMOTE  # type: ignore[attr-defined]
        methods = {name: _method(name, undo.get(name)) for name in names}
        found = _classes[core] = type("Remote", (Remote,), {"__slots__": (), **methods})
    return found


def _method(name: str, undo: Callable[..., Any] | None) -> Callable[..., Any]:
    if undo is None:

        def method(self: Remote, *args: Any) -> Any:
            return asking.ask((wire.CALL, self._key, name), args)

    else:

        def method(self: Remote, *args: Any) -> Any:
            return asking.ask(
                (wire.CALL, self._key, name),
                args,
                None,
                lambda it: undo(self, args, it),
                is_undoable=True,
            )

    method.__name__ = name
    return method


def _place_of(core: type) -> tuple[str, str]:
    return core.__module__.removeprefix("_interpool_"), core.__name__


def _find(key: wire.Key) -> Remote | None:
    reference = _known.get(key)
    return None if reference is None else reference()


def of_state(core: type[sharing.Primitive], state: sharing.State, name: str) -> Remote:
    """Return what stands for what was sent.

    Raises:
        ReferenceError: if nobody has it any more.
        RuntimeError: if it is of a process that this one knows nothing of.
        OSError: if there are no more descriptors.
    """
    lines.switchboard(name)
    place = _place_of(core)
    *_, identity, _, is_given = state
    found = _find((*place, identity))
    if found is not None and not is_given:
        return found
    kind = _class_for(core)

    def then(body: list[Any]) -> Remote:
        key: wire.Key = (*place, identity)
        if found is not None:  # main has counted it again
            lines.dropped.append(key)
            return found
        return kind(key, body[0])

    made: Remote = asking.ask((wire.HOLD, place, state, name), (), then)
    return made


def make(core: type[sharing.Primitive], *args: Any) -> Remote:
    """Make something new to share, in the main process; return what stands for it here.

    Raises:
        OSError: if the system has no memory or no descriptors for it.
    """
    place, kind = _place_of(core), _class_for(core)

    def then(body: list[Any]) -> Remote:
        return kind((*place, body[0][4]), body[0])

    made: Remote = asking.ask((wire.MAKE, place), args, then)
    return made


# --- Memory --------------------------------------------------------------------------------------


def memory_of(state: wire.Memory) -> int:
    """Return a descriptor of memory that main has, or had when it sent that.

    Raises:
        Gone: if it has it no more.
        OSError: if there are no more descriptors.
    """
    found: int = asking.ask((wire.MEMORY, state), (), lambda body: body[1], os.close)
    return found


def make_memory(nbytes: int) -> tuple[int, wire.Memory]:
    """Make memory in main, filled with zeros.

    Returns:
        A descriptor of it; and the state by which others find it, until `drop_memory`.

    Raises:
        OSError: if the system has no memory or no descriptors for it.
    """

    def undo(made: tuple[int, wire.Memory]) -> None:
        os.close(made[0])
        drop_memory(made[1])

    made: tuple[int, wire.Memory] = asking.ask(
        (wire.MAKE_MEMORY, nbytes), (), lambda body: (body[1], body[0]), undo
    )
    return made


def give_memory(state: wire.Memory) -> wire.Memory:
    """Return a state of the same memory, whose descriptor in main is for who receives it to close.

    Raises:
        Gone: if main has it no more.
        OSError: if there are no more descriptors.
    """
    found: wire.Memory = asking.ask(
        (wire.GIVE_MEMORY, state), (), undo=lambda it: close(it[1:2]), is_undoable=True
    )
    return found


def drop_memory(state: wire.Memory) -> None:
    """Have main let go of memory that was made for this process, some time. For finalizers."""
    lines.dropped.append(("", "", state[2]))
