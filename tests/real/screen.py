"""A program on a terminal of its own, driven by keys."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from .hubs import Failure


class Screen:
    """Runs a command on a terminal of 24 lines, for as long as the `with` lasts."""

    def __init__(self, command, columns=80, **environment):
        self.name, self.drawn = os.path.basename(command[0]), b""
        self.near, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(command, stdin=far, stdout=far, stderr=far, start_new_session=True,
                                        env=dict(os.environ, TERM="xterm", LC_ALL="C.UTF-8", **environment))
        os.close(far)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.near)

    def type(self, keys):
        os.write(self.near, keys.encode())

    def shows(self, *wanted, seconds=20):
        """Reads what is drawn until one of these patterns (of bytes) is in what was drawn since the last call; gives it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for pattern in wanted:
                if re.search(pattern, self.drawn):
                    self.drawn = b""
                    return pattern
            if not self.read(0.1) and self.process.poll() is not None:
                break
        raise Failure(f"{self.name} never showed {wanted}; it showed {self.drawn[-400:]!r}")

    def ends(self, seconds=20):
        """Reads to the end; gives the program's exit code."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            self.read(0.1)
        if self.process.poll() is None:
            raise Failure(f"{self.name} did not end; it showed {self.drawn[-400:]!r}")
        return self.process.returncode

    def read(self, seconds):
        """Waits so long for something to be drawn; whether there was."""
        if not select.select([self.near], [], [], seconds)[0]:
            return False
        try:
            self.drawn += os.read(self.near, 65536)
        except OSError:
            # The program has closed its side.
            return False
        return True
