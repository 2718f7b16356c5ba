"""The service that web.py asks: `/heavy` computes by the way that is named, `/light` answers.

    python benchmarks/_web_service.py WAY ITERATIONS WORKERS

It prints its port, and serves until its standard input ends.
"""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request  # noqa: TC002 - Starlette may ask for it
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from interpool.aio import Pool

type Heavy = Callable[[int], Awaitable[int]]

WAYS: Final = ("none", "threadpool", "processes", "interpool")


def compute(iterations: int) -> int:
    seed = 42
    for _ in range(iterations):
        seed = (seed * 1_103_515_245 + 12_345) % 2**31
    return seed


@contextlib.asynccontextmanager
async def heavy_by(way: str, workers: int) -> AsyncIterator[Heavy]:
    """What the endpoint awaits."""
    match way:
        case "threadpool":
            yield lambda iterations: run_in_threadpool(compute, iterations)
        case "processes":
            loop = asyncio.get_running_loop()
            with ProcessPoolExecutor(workers) as processes:
                yield lambda iterations: loop.run_in_executor(processes, compute, iterations)
        case _:
            async with Pool(workers) as pool:
                yield lambda iterations: pool.run(compute, iterations)


def make(way: str, iterations: int, workers: int) -> Starlette:
    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with heavy_by(way, workers) as heavy:
            await asyncio.gather(*(heavy(1) for _ in range(2 * workers)))  # all have started
            app.state.heavy = heavy
            yield

    async def heavy(request: Request) -> Response:
        return PlainTextResponse(str(await request.app.state.heavy(iterations)))

    async def light(_: Request) -> Response:
        return PlainTextResponse("here")

    routes = [Route("/heavy", heavy), Route("/light", light)]
    return Starlette(routes=routes, lifespan=lifespan)


def main() -> None:
    way, iterations, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # asyncio sees to that only where a socket was made for TCP by name.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        app = make(way, iterations, workers)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))

        async def serve() -> None:
            serving = asyncio.ensure_future(server.serve(sockets=[listener]))
            print(listener.getsockname()[1], flush=True)
            # Until whoever has started this wants no more, or is gone.
            ended = asyncio.Event()
            asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
            await ended.wait()
            server.should_exit = True
            await serving

        asyncio.run(serve())
    sys.stdout.flush()
    os._exit(0)  # with threads that compute, which nobody waits for


if __name__ == "__main__":
    main()
