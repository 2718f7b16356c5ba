"""Connecting to a cluster, making a local one, and seeing whether all parts fit.

What does not fit is said at once, with the part's name: a task would only fail at the other end, in
Dask's words.
"""

import asyncio
import contextlib
import logging
import os
import sys
from concurrent.futures import CancelledError
from typing import Any, Final

import distributed
import psutil
from distributed import Scheduler
from distributed.core import Status
from distributed.deploy.cluster import Cluster
from distributed.deploy.spec import ProcessInterface, SpecCluster

from interpool._cpu import available_cores
from interpool.cluster import _site, _wire
from interpool.cluster._errors import ClusterError

type Target = str | distributed.Client | Cluster | None
"""A scheduler's address, what knows it, or None: a cluster of this machine's cores."""

# What every part is asked, in words that need nothing there but Python: its version, and that of
# interpool ("" if there is none, or one without this package).
_PROBE: Final = (
    "(lambda found: 'Python %d.%d, interpool %s' % (*__import__('sys').version_info[:2], found and "
    "__import__('interpool').__version__))"
    "(__import__('importlib.util', fromlist=['find_spec']).find_spec('interpool') and "
    "__import__('importlib.util', fromlist=['find_spec']).find_spec('interpool.cluster') and 1)"
)
# Seconds until the worker of a local cluster has come: two processes that import Dask take two.
_START: Final = 60.0
# Seconds that all parts of a cluster have to say what they are: as long as Dask itself gives a
# connection.
_ANSWER: Final = 30.0
# Seconds that processes of a local cluster have to go by themselves when it is closed. Arbitrary.
_LEAVE: Final = 5.0


async def connect(
    stack: contextlib.AsyncExitStack,
    target: Target,
    security: distributed.Security | None,
) -> distributed.Client:
    """Return a client of the cluster, all parts of which fit, with a pool in each worker.

    Args:
        stack: what closes it.
        target: what is to be connected to.
        security: Dask's, for the connections.

    Raises:
        ClusterError: if there is none, or a part does not fit.
        TypeError: if the target is nothing of that kind.
    """
    is_local = target is None
    where = "of the local cluster"
    if target is None:
        target = await stack.enter_async_context(_local_cluster(security))
    else:
        target, security = _address_of(target, security)
        where = f"at {target}"
    client: Any = None  # its methods are coroutines here
    try:
        client = distributed.Client(
            target, asynchronous=True, security=security, set_as_default=False
        )
        stack.push_async_callback(client.close)
        await client
    except (OSError, TypeError, ValueError) as error:
        raise ClusterError(f"Cannot connect to the Dask scheduler {where}: {error}") from error
    try:
        if is_local:
            await client.wait_for_workers(1, timeout=_START)
        async with asyncio.timeout(_ANSWER):
            await _check(client)
            await client.register_plugin(_site.PoolPlugin(), name=_site.PoolPlugin.name)
    except TimeoutError as error:
        raise ClusterError(
            f"The Dask scheduler {where}, or a worker of it, does not answer"
        ) from error
    except (OSError, CancelledError) as error:
        if isinstance(error, ClusterError):
            raise
        raise ClusterError(f"The Dask scheduler {where} has gone: {error}") from error
    connected: distributed.Client = client
    return connected


def _address_of(
    target: str | distributed.Client | Cluster, security: distributed.Security | None
) -> tuple[str, distributed.Security | None]:
    """Return a scheduler's address, and what connections to it take."""
    knowing: Any = target
    if isinstance(knowing, str):
        return knowing, security
    if isinstance(knowing, distributed.Client):
        if knowing.scheduler is None:
            raise ClusterError(f"{knowing!r} is not connected")
        address: Any = knowing.scheduler.address
        return address, security or knowing.security
    if isinstance(knowing, Cluster):
        own = getattr(knowing, "security", None)  # of those that Dask itself has
        return knowing.scheduler_address, security or own
    message = (
        "cluster must be a scheduler's address, a distributed.Client, a Dask cluster or None, "
        f"not {knowing!r}"
    )
    raise TypeError(message)


async def _check(client: Any) -> None:
    """See whether all parts can read each other.

    Raises:
        ClusterError: if one cannot.
    """
    scheduler = await client.run_on_scheduler(eval, _PROBE)
    parts: dict[str, Any] = {"The Dask scheduler": scheduler}
    answers = await client.run(eval, _PROBE, on_error="return")
    parts |= {f"The Dask worker {address}": answer for address, answer in answers.items()}
    for who, answer in parts.items():
        if isinstance(answer, BaseException):
            raise ClusterError(f"{who} does not answer: {answer!r}") from answer
        if answer == _wire.TAG:
            continue
        if answer.endswith("None"):
            raise ClusterError(missing(who))
        raise ClusterError(_wire.mismatch(who, answer))


def missing(who: str) -> str:
    """Say that a part of a cluster lacks this package."""
    return (
        f"{who} has no interpool, or one without interpool.cluster. Install it there, as it is "
        "here: pip install 'interpool[cluster]'"
    )


@contextlib.asynccontextmanager
async def _local_cluster(security: distributed.Security | None) -> Any:
    """A scheduler in this process, and one worker of this machine, with all its cores."""
    cluster = SpecCluster(
        scheduler={
            "cls": Scheduler,
            "options": {
                "host": "127.0.0.1",
                "port": 0,
                "dashboard": False,
                "dashboard_address": "127.0.0.1:0",
                "security": security,
            },
        },
        workers={0: {"cls": LocalWorker, "options": {"threads": available_cores()}}},
        security=security,
        asynchronous=True,
        name="interpool",
        silence_logs=logging.WARNING,
    )
    starting = asyncio.ensure_future(cluster.__aenter__())
    try:
        await asyncio.shield(starting)
        yield cluster
    except RuntimeError as error:
        if starting.done() and starting.exception() is error:
            raise ClusterError(f"The local cluster has not started: {error}") from error
        raise
    finally:
        # To its end, also if nobody wants it any more: what has half begun cannot be closed.
        await asyncio.gather(starting, return_exceptions=True)
        await cluster.__aexit__(None, None, None)


class LocalWorker(ProcessInterface):
    """A Dask worker with its nanny, in processes of their own.

    Not by `multiprocessing`, as Dask's `LocalCluster` has it, which runs the program's script again
    in each: a script without a guard would begin anew there.
    """

    def __init__(self, scheduler: str, name: object = None, *, threads: int = 1) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._scheduler = scheduler
        self._name = str(name)
        self._threads = threads
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; it reports to the scheduler when it is ready."""
        # Found there is what is found here, also where that is next to the program's script.
        path = os.pathsep.join(filter(None, sys.path))
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "distributed.cli.dask_worker", self._scheduler),
            *("--name", self._name, "--nthreads", str(self._threads), "--no-dashboard"),
            *("--host", "127.0.0.1"),
            # What tasks print goes where this program's own goes; of what Dask says, what is wrong.
            env=os.environ | {"PYTHONPATH": path, "DASK_LOGGING__DISTRIBUTED": "error"},
            stdin=asyncio.subprocess.DEVNULL,
            process_group=0,  # Ctrl-C at a terminal is this program's business
        )
        await super().start()  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Let it go; if it does not, end it with all its children."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            family = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _LEAVE)
            except TimeoutError:
                process.kill()
                await process.wait()
            for child in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        if self.status != Status.closed:
            await super().close()  # type: ignore[no-untyped-call]
