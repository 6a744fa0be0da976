"""A network with bad days: a TCP relay that delays, dribbles and cuts at any byte."""

import random
import socket
import threading
import time

from .proxy import _end


class Chaos:
    """Relays to a local port. While it is on, connections are slow, arrive in pieces, and are cut in the middle of a
    line, in either direction; each is dialed again through the same port."""

    def __init__(self, target, seed):
        self.target, self.on, self.cuts = target, True, 0
        self.dice, self.lock = random.Random(seed), threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _roll(self, low, high):
        with self.lock:
            return self.dice.uniform(low, high)

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                if self.listener.fileno() < 0:
                    return
                near.close()
                continue
            far.settimeout(None)
            # After so many bytes it is cut, wherever that is.
            budget = [int(self._roll(200, 6_000))]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink, budget), daemon=True).start()

    def _pump(self, source, sink, budget):
        try:
            while data := source.recv(65536):
                while data and self.on:
                    piece = data[:max(1, int(self._roll(1, 600)))]
                    budget[0] -= len(piece)
                    if budget[0] < 0:
                        self.cuts += 1
                        raise OSError("cut")
                    if self._roll(0, 1) < 0.2:
                        time.sleep(self._roll(0, 0.02))
                    sink.sendall(piece)
                    data = data[len(piece):]
                sink.sendall(data)
        except OSError:
            pass
        _end(source)
        _end(sink)

    def calm(self):
        """From now on it is an ordinary network."""
        self.on = False

    def close(self):
        self.listener.close()
