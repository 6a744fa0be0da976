"""A network with bad days: an asyncio TCP relay that delays, throttles, cuts at any byte, goes half-open and dials twice.
What arrives arrives in order, as TCP promises; everything else may happen."""

import asyncio
import random
import threading

from .hubs import Failure

# So much is read ahead of a slow side: what is not relayed fills the sender's own buffers, as it should.
PIECE = 16 << 10
# For so many seconds at most nothing is heard on a connection that is half-open, until it is cut.
SILENCE = 1.5


class Chaos:
    """Relays to a local port on a thread of its own. While it is on, each connection draws a lot: what happens to it, and
    after how many bytes."""

    # `half-open`: neither end hears anything more. `left`: the dialing end is cut and dials anew, while the other one
    # still believes in the connection.
    WAYS = ("delayed", "throttled", "cut", "cut", "half-open", "left")
    # How often a connection is dialed twice: the target hears the beginning of it on two.
    TWICE = 0.2

    def __init__(self, target, seed, ways=WAYS, silence=SILENCE, twice=TWICE):
        self.twice = twice
        self.target, self.dice, self.on, self.ways, self.silence = target, random.Random(seed), True, ways, silence
        self.seen = {way: 0 for way in (*ways, "twice")}
        self.open = set()
        self.loop = asyncio.new_event_loop()
        self.ready, self.server, self.port = threading.Event(), None, 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        if not self.ready.wait(10) or not self.port:
            raise Failure("the chaos proxy could not listen")

    def _run(self):
        asyncio.set_event_loop(self.loop)
        try:
            self.server = self.loop.run_until_complete(
                asyncio.start_server(self._relay, "127.0.0.1", 0, limit=PIECE))
            self.port = self.server.sockets[0].getsockname()[1]
        finally:
            self.ready.set()
        self.loop.run_forever()
        self.server.close()
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.loop.close()

    async def _relay(self, near_in, near_out):
        """One connection, from its dialing to its end."""
        self.open.add(near_out)
        far_out = twin = None
        fate = Fate(self)
        try:
            if self.on and self.dice.random() < self.twice:
                self.seen["twice"] += 1
                twin = (await self._dial())[1]
                self.loop.call_later(self.dice.uniform(0.1, self.silence), self._end, twin)
            far_in, far_out = await self._dial()
            await asyncio.gather(self._pump(near_in, far_out, fate, twin), self._pump(far_in, near_out, fate))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._end(near_out)
            if far_out and fate.way == "left" and fate.left <= 0:
                self.loop.call_later(self.dice.uniform(0.1, self.silence), self._end, far_out)
            elif far_out:
                self._end(far_out)

    async def _dial(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target, limit=PIECE)
        self.open.add(writer)
        return reader, writer

    async def _pump(self, source, sink, fate, twin=None):
        """One direction, to its end. An end in good order goes on to the other side, after what was said before it."""
        while data := await source.read(PIECE):
            for piece in fate.pieces(data) if self.on else [data]:
                if self.on and fate.left <= 0:
                    # In the middle of whatever these bytes were.
                    if fate.way == "half-open":
                        await asyncio.sleep(self.dice.uniform(0.1, self.silence))
                    raise OSError(fate.way)
                if self.on and (pause := fate.pause(len(piece))):
                    await asyncio.sleep(pause)
                if twin and twin in self.open:
                    # Never waited for: what it cannot take is dropped with it.
                    twin.write(piece)
                    if twin.transport.get_write_buffer_size() > PIECE:
                        self._end(twin)
                sink.write(piece)
                await sink.drain()
        if not sink.is_closing():
            sink.write_eof()

    def _end(self, stream):
        """At once: what was not sent yet is lost, as in a cut."""
        self.open.discard(stream)
        stream.transport.abort()

    def cut_all(self):
        """Ends every connection now."""
        self.loop.call_soon_threadsafe(lambda: [self._end(stream) for stream in list(self.open)])

    @property
    def cuts(self):
        """How many connections were drawn to end before they were done."""
        return sum(times for way, times in self.seen.items() if way in Fate.ENDING)

    def calm(self):
        """From now on it is an ordinary network."""
        self.on = False

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


class Fate:
    """What happens to one connection, drawn when it is made."""

    ENDING = ("cut", "half-open", "left")

    def __init__(self, proxy):
        self.dice = proxy.dice
        self.way = self.dice.choice(proxy.ways) if proxy.on else "calm"
        if proxy.on:
            proxy.seen[self.way] += 1
        # After so many bytes, in both directions together, it ends, if it is one that does.
        budget = self.dice.uniform(1, 400) if self.dice.random() < 0.2 else self.dice.uniform(400, 12_000)
        self.left = int(budget) if self.way in self.ENDING else 1 << 40
        # Bytes in a second, of one that is throttled.
        self.rate = self.dice.uniform(20_000, 200_000)

    def pieces(self, data):
        """The data in pieces of any length; the last one before the end of the connection is a part of what was sent."""
        while data:
            piece = data[:min(self.dice.randint(1, 4_000), max(1, self.left))]
            data = data[len(piece):]
            yield piece
            self.left -= len(piece)

    def pause(self, count):
        """How long the next bytes take, in seconds."""
        if self.way == "throttled":
            return count / self.rate
        return self.dice.uniform(0, 0.03) if self.way == "delayed" and self.dice.random() < 0.3 else 0
