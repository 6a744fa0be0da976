"""A WebSocket of text messages in the standard library, as much of it as a test needs."""

import base64
import os
import socket
import struct
from urllib.parse import urlsplit


class WebSocket:
    """A client's connection to a ws:// address."""

    def __init__(self, address, seconds=20):
        parts = urlsplit(address)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=seconds)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
                             "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                             f"Sec-WebSocket-Key: {key}\r\n\r\n").encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self._more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise OSError(f"no WebSocket: {head[:80]!r}")

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise OSError("the WebSocket was closed")
        return data

    def _take(self, count):
        while len(self.buffer) < count:
            self.buffer += self._more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def _frame(self, opcode, data):
        length = len(data)
        size = (bytes([0x80 | length]) if length < 126 else
                struct.pack("!BH", 0xFE, length) if length < 65536 else struct.pack("!BQ", 0xFF, length))
        # A mask of zeros is a mask too.
        self.socket.sendall(bytes([0x80 | opcode]) + size + bytes(4) + data)

    def send(self, text):
        self._frame(1, text.encode())

    def receive(self):
        """The next text message."""
        whole = b""
        while True:
            first, length = self._take(2)
            if length == 126:
                (length,) = struct.unpack("!H", self._take(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", self._take(8))
            data, opcode = self._take(length), first & 0x0F
            if opcode == 8:
                raise OSError("the WebSocket was closed")
            if opcode == 9:
                self._frame(10, data)
            elif opcode in (0, 1):
                whole += data
                if first & 0x80:
                    return whole.decode()
