"""The same for asyncio: `async with squall.aio.connect() as cluster: await cluster.run("f", {...})`."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

from squall import cluster as sync
from squall import embedded
from squall.calls import Call, Result
from squall.cluster import Target
from squall.kv import Entry


class Kv:
    """As squall.kv.Kv; what waits is awaited."""

    def __init__(self, kv: Any) -> None:
        self._kv = kv

    async def put(self, key: str, value: Any, *, durable: bool = True) -> None:
        await asyncio.to_thread(self._kv.put, key, value, durable=durable)

    async def get(self, key: str) -> bytes:
        return await asyncio.to_thread(self._kv.get, key)

    async def stat(self, key: str) -> Entry:
        return await asyncio.to_thread(self._kv.stat, key)

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self._kv.delete, key)

    async def list(self, prefix: str = "", *, after: str = "", limit: int = 0) -> list[Entry]:
        return await asyncio.to_thread(self._kv.list, prefix, after=after, limit=limit)


class Cluster:
    """A connection, as squall.Cluster. Calls are awaited without a thread of their own; cancelling the task that
    awaits one cancels the call."""

    def __init__(self, cluster: sync.Cluster) -> None:
        self.sync = cluster
        self.kv = Kv(cluster.kv)

    async def call(self, target: Target, inputs: Mapping[str, Any] | None = None, /, **options: Any) -> Call:
        """Begins a call (options as those of squall.Cluster.call); await what this returns for the result."""
        # Only the first call of a target has to ask or to register something.
        if self.sync.knows(target):
            return self.sync.call(target, inputs, **options)
        return await asyncio.to_thread(self.sync.call, target, inputs, **options)

    async def run(self, target: Target, inputs: Mapping[str, Any] | None = None, /, **options: Any) -> Result:
        return await (await self.call(target, inputs, **options))

    async def stream(
        self, target: Target, inputs: Mapping[str, Any] | None = None, /, **options: Any
    ) -> AsyncIterator[Mapping[str, Any]]:
        """What the call's stages give out before they end, and at last its outputs."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()

        def put(item: Mapping[str, Any] | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(queue.put_nowait, item)

        call = await self.call(target, inputs, on_partial=lambda _, outputs: put(outputs), **options)
        call.add_done_callback(lambda _: put(None))
        try:
            while (item := await queue.get()) is not None:
                yield item
            yield call.result()
        finally:
            call.cancel()

    async def register(self, what: Any, *, replace: bool = False) -> None:
        await asyncio.to_thread(self.sync.register, what, replace=replace)

    async def query(self, kind: str, name: str = "") -> Any:
        return await asyncio.to_thread(self.sync.query, kind, name)

    async def ping(self) -> float:
        return await asyncio.to_thread(self.sync.ping)

    async def close(self) -> None:
        await asyncio.to_thread(self.sync.close)


@contextlib.asynccontextmanager
async def connect(endpoint: str | None = None, **options: Any) -> AsyncIterator[Cluster]:
    """As squall.connect()."""
    cluster = await asyncio.to_thread(sync.connect, endpoint, **options)
    with cluster:
        yield Cluster(cluster)


@contextlib.asynccontextmanager
async def local(
    *, policy: str = "fifo", spec: str = "", data: str | os.PathLike[str] | None = None, timeout: float = 30.0
) -> AsyncIterator[Cluster]:
    """As squall.local()."""
    server = embedded.local(policy=policy, spec=spec, data=data, timeout=timeout)
    cluster = await asyncio.to_thread(server.__enter__)
    try:
        yield Cluster(cluster)
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)
