"""Hubs: starting, following, killing and stopping `syncline serve` and `syncline join`."""

import json
import os
import re
import signal
import subprocess
import threading
import time


class Failure(Exception):
    """Something that must hold does not."""


class Hub:
    """One `syncline` process on one folder; what it prints is kept in the log folder."""

    def __init__(self, binary, name, folder, logs):
        self.binary, self.name, self.folder, self.logs = binary, name, folder, logs
        self.process = None
        self.events = []
        self.heard = threading.Condition()

    def start(self, arguments):
        self.events = []
        environment = dict(os.environ, RUST_BACKTRACE="1")
        errors = open(self.logs / f"{self.name}.err", "ab")
        self.process = subprocess.Popen(
            [self.binary, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
            cwd=self.logs, env=environment)
        errors.close()
        threading.Thread(target=self._listen, args=(self.process, self.events), daemon=True).start()

    def _listen(self, process, events):
        with open(self.logs / f"{self.name}.out", "ab") as log:
            for line in process.stdout:
                log.write(line)
                log.flush()
                try:
                    event = json.loads(line)
                except ValueError:
                    event = {"not_json": line.decode(errors="replace")}
                with self.heard:
                    events.append(event)
                    self.heard.notify_all()

    def event(self, key, seconds):
        """The first event that has `key`; fails when none comes in time or the hub ends."""
        deadline = time.monotonic() + seconds
        while True:
            with self.heard:
                for event in self.events:
                    if isinstance(event, dict) and key in event:
                        return event
                    if isinstance(event, dict) and "not_json" in event:
                        raise Failure(f"hub {self.name} printed a line that is not JSON: {event['not_json']!r}")
                self.heard.wait(0.1)
            self.must_run()
            if time.monotonic() > deadline:
                raise Failure(f"hub {self.name} printed no `{key}` in {seconds:.0f} s; it printed {self.events!r}")

    def running(self):
        return self.process is not None and self.process.poll() is None

    def must_run(self):
        if not self.running():
            code = None if self.process is None else self.process.returncode
            raise Failure(f"hub {self.name} is not running (exit code {code}): {self.last_words()}")

    def last_words(self):
        path = self.logs / f"{self.name}.err"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return " | ".join(lines[-8:]) or "it printed nothing on standard error"

    def panicked(self):
        path = self.logs / f"{self.name}.err"
        return path.exists() and b"panicked at" in path.read_bytes()

    def kill9(self):
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=20):
        if not self.running():
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise Failure(f"hub {self.name} did not stop within {seconds} s of SIGTERM") from None


def port_in(link):
    """The port of 127.0.0.1 that a link names."""
    found = re.search(r"(?:127\.0\.0\.1|localhost|\[::1\]):(\d+)", link)
    if not found:
        raise Failure(f"the link {link!r} names no port of this machine")
    return int(found.group(1))
