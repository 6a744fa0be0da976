"""`connect`, as `websockets.sync.client` has it."""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))
from real.websocket import WebSocket  # noqa: E402


class Connection:
    """A connection that sends and receives text."""

    def __init__(self, address):
        self.socket = WebSocket(address)

    def send(self, text):
        self.socket.send(text)

    def recv(self):
        return self.socket.receive()


@contextmanager
def connect(address, max_size=2**20):  # noqa: ARG001 (the library's name for its limit)
    """Connects, and closes at the end."""
    connection = Connection(address)
    try:
        yield connection
    finally:
        connection.socket.socket.close()
