"""A network between a process and its database that delays, cuts, and goes silent.

It is a TCP proxy that runs on the caller's event loop, with one port for each process.
"""

from __future__ import annotations

import asyncio
import contextlib

__all__ = ["Link"]

CHUNK = 65_536


class Link:
    """The way from one process to a server; to be used on one event loop.

    Args:
        port: The server's port.
    """

    def __init__(self, port):
        self._server_port = port
        self._pairs = set()
        self._deaf = set()
        """Connections on which nothing arrives any longer, in either direction."""
        self._delay = 0.0
        self._swallows = False
        self.port = 0

    async def open(self):
        """Listen, and return the port."""
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self.port

    async def close(self):
        """Cut everything, and stop to listen."""
        self._listener.close()
        self.cut()
        for one in list(self._pairs):
            one.cancel()
        await asyncio.gather(*self._pairs, return_exceptions=True)

    # ── Faults ───────────────────────────────────────────────────────────────────────────────

    def cut(self):
        """Reset every connection."""
        for one in list(self._pairs):
            one.cancel()

    async def slow(self, delay, seconds):
        """Delay everything for a while."""
        self._delay = delay
        try:
            await asyncio.sleep(seconds)
        finally:
            self._delay = 0.0

    async def go_silent(self, seconds):
        """Swallow everything for a while, and for ever on the connections that exist by then."""
        self._swallows = True
        self._deaf |= self._pairs
        try:
            await asyncio.sleep(seconds)
        finally:
            self._swallows = False

    # ── Connections ──────────────────────────────────────────────────────────────────────────

    async def _accept(self, reader, writer):
        pair = asyncio.current_task()
        self._pairs.add(pair)
        if self._swallows:
            self._deaf.add(pair)
        writers = [writer]
        try:
            await self._connect(reader, writer, writers, pair)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._pairs.discard(pair)
            self._deaf.discard(pair)
            for one in writers:
                one.transport.abort()

    async def _connect(self, reader, writer, writers, pair):
        if pair in self._deaf:
            while await reader.read(CHUNK):
                pass
            return
        upward, server = await asyncio.open_connection("127.0.0.1", self._server_port)
        writers.append(server)
        ways = [
            asyncio.ensure_future(self._carry(source, sink, pair))
            for source, sink in ((reader, server), (upward, writer))
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if pair in self._deaf:  # the other side does not hear of the end
                await asyncio.wait(ways)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _carry(self, source, sink, pair):
        """Carry what arrives to the other side, until one side closes."""
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                if self._delay:
                    await asyncio.sleep(self._delay)
                if pair not in self._deaf:
                    sink.write(data)
                    await sink.drain()
