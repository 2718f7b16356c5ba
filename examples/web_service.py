"""A web service with an endpoint that computes, and one that must not wait for it.

    python examples/web_service.py --port 8000
    curl 'http://127.0.0.1:8000/primes?below=200000'
    curl 'http://127.0.0.1:8000/primes?below=100000000'    # and Ctrl-C: the worker stops, too

The pool lives as long as the application. A request whose client goes away is cancelled, and with
it the task in the worker. It needs Starlette and uvicorn.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from interpool.aio import Pool


def count_primes(below: int) -> int:
    """Count them as one who has no better idea: by pure Python, for a core to be busy with."""
    print(f"counting primes below {below:,}", flush=True)  # in a worker: it comes out here
    primes: list[int] = []
    for number in range(2, below):
        for prime in primes:
            if prime * prime > number:
                primes.append(number)
                break
            if number % prime == 0:
                break
        else:
            primes.append(number)
    return len(primes)


async def while_connected[T](request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await what is done for a request; if its client goes away, cancel it.

    Raises:
        ClientDisconnect: if that was so.
    """
    working = asyncio.ensure_future(work)

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        working.cancel()

    watching = asyncio.create_task(watch())
    try:
        await asyncio.wait([working])
        if working.cancelled():
            raise ClientDisconnect
        return working.result()
    finally:
        # Whatever ends this: the server that stops, or a timeout around it.
        watching.cancel()
        if working.cancel():
            await asyncio.wait([working])


async def primes(request: Request) -> Response:
    below = int(request.query_params.get("below", "200000"))
    pool: Pool = request.app.state.pool
    try:
        count = await while_connected(request, pool.run(count_primes, below))
    except ClientDisconnect:
        print("the client went away: interrupted", flush=True)
        return Response(status_code=499)  # to nobody
    return JSONResponse({"below": below, "primes": count})


async def light(_: Request) -> Response:
    return PlainTextResponse("here")


async def tasks(request: Request) -> Response:
    pool: Pool = request.app.state.pool
    return JSONResponse(dataclasses.asdict(pool.statistics().tasks))


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with Pool() as pool:
        pool.prewarm()  # the first request need not wait for a worker
        app.state.pool = pool
        yield


app = Starlette(
    routes=[Route("/primes", primes), Route("/light", light), Route("/tasks", tasks)],
    lifespan=lifespan,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes one that is free")
    port = parser.parse_args().port
    with socket.create_server(("127.0.0.1", port)) as listener:
        # asyncio sees to that only where a socket was made for TCP by name; without it, an answer
        # may wait 40 ms for the client's word that it has its first half.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print("http://{}:{}".format(*listener.getsockname()), flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        server.run(sockets=[listener])


if __name__ == "__main__":
    main()
