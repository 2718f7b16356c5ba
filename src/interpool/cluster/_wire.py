"""What travels between an executor and the workers of its cluster: orders, and what came of them.

Both are bytes that `marshal` makes of plain data, which Dask carries and nobody loads on the way:
neither the scheduler, nor the main interpreter of a worker. So objects of classes that only the
user's program and an interpreter know pass through.

marshal has no format of its own for all times: both ends must be of one minor version of Python,
and of one version of this package, which `TAG` names.
"""

import marshal
import sys
from typing import Any, Final

import interpool
from interpool._failures import Failure
from interpool._inside import channels
from interpool._inside.outcomes import Message, describe
from interpool._stops import Reason, Stop

TAG: Final = (
    f"Python {sys.version_info[0]}.{sys.version_info[1]}, interpool {interpool.__version__}"
)


def mismatch(who: str, tag: str, own: str = TAG) -> str:
    """Say that a part of a cluster does not fit a program.

    Args:
        who: which part.
        tag: what it has.
        own: what the program has.
    """
    return (
        f"{who} has {tag}, and this program {own}: what one sends the other cannot read. Have all "
        "parts of the cluster, and this program, run one minor version of Python and one version "
        "of interpool"
    )


# Frames whose payload is plain data; of others it is an object that makes an exception.
_PLAIN: Final = frozenset(
    {channels.VALUE_PLAIN, channels.VALUE_PICKLED, channels.FAILED, channels.EACH}
)


def pack_message(item: bytes | tuple[Any, ...]) -> tuple[bytes, ...]:
    """Return the pieces of a task's item, as Dask's pickles carry them."""
    pieces = item if isinstance(item, tuple) else (item,)
    return tuple(bytes(it) if isinstance(it, memoryview) else it for it in pieces)


def unpack_message(head: bytes, large: tuple[Any, ...]) -> Message:
    """Return the message in an item that came from another process."""
    _, _, _, *parts = marshal.loads(head)
    return tuple(parts), list(large)


def pack_outcome(kind: int, payload: Any, name: str) -> bytes:
    """Make bytes of an outcome.

    Args:
        kind: of the frame.
        payload: of the frame.
        name: the function's.
    """
    if isinstance(payload, Stop):
        failure = None if payload.failure is None else _parts_of(payload.failure)
        stop = (
            *(payload.reason.name, payload.grace, payload.limit, payload.has_begun),
            *([tuple(it) for it in payload.places], payload.abandoned, payload.is_killed),
            *(payload.is_untimed, failure),
        )
        return marshal.dumps((channels.STRUCK, stop))
    if kind not in _PLAIN:
        kind, payload = channels.FAILED, describe(payload.as_exception(name), "run")
    try:
        return marshal.dumps((kind, payload))
    except ValueError as error:  # marshal carries nothing of 2 GiB and more
        return marshal.dumps((channels.FAILED, describe(error, "result")))


def _parts_of(failure: Failure) -> tuple[Any, ...]:
    """Return the parts of a failure, in their order."""
    return failure.stage, failure.packed, failure.text, failure.culprit, failure.refused


def unpack_outcome(data: bytes) -> tuple[int, Any]:
    """Return the kind and the payload of an outcome, as `_collector` ends tasks with them."""
    kind, payload = marshal.loads(data)
    if kind == channels.STRUCK:
        reason, grace, limit, has_begun, places, abandoned, is_killed, is_untimed, failure = payload
        payload = Stop(
            Reason[reason],
            grace=grace,
            limit=limit,
            has_begun=has_begun,
            places=places,
            abandoned=abandoned,
            is_killed=is_killed,
            is_untimed=is_untimed,
            failure=None if failure is None else Failure.from_frame(failure),
        )
    return kind, payload
