"""Noticing that a file changed without touching it: inotify, which no other watcher can see.

Reading a file, or only opening it, is evidence for Syncline that somebody has seen it. A test of stale
saves must not give such evidence, so it waits here.
"""

import ctypes
import os
import select
import struct
import time

from .hubs import Failure

CLOSE_WRITE, MOVED_TO, CREATE = 0x8, 0x80, 0x100
HEADER = struct.Struct("iIII")
LIBC = ctypes.CDLL(None, use_errno=True)


class Arrivals:
    """The changes of one folder's files from now on."""

    def __init__(self, folder):
        self.folder = folder
        self.handle = LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        watch = LIBC.inotify_add_watch(self.handle, os.fsencode(folder), CLOSE_WRITE | MOVED_TO | CREATE)
        if self.handle < 0 or watch < 0:
            raise Failure(f"inotify: {os.strerror(ctypes.get_errno())}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.handle)

    def wait(self, name, seconds=20):
        """Returns when the file of this name was written or replaced."""
        deadline = time.monotonic() + seconds
        wanted = os.fsencode(name)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.handle], [], [], left)[0]:
                raise Failure(f"{self.folder.name}/{name}: the other side's change did not arrive in {seconds} s")
            data = os.read(self.handle, 65536)
            while data:
                _, _, _, length = HEADER.unpack_from(data)
                if data[HEADER.size:HEADER.size + length].rstrip(b"\0") == wanted:
                    return
                data = data[HEADER.size + length:]
