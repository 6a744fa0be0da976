"""Faults of the disk, injected into a running program's system calls by strace."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .hubs import Failure

ATTACH_SECONDS = 20


def why_not():
    """In words, why nothing can be injected here; None when it can."""
    if not shutil.which("strace"):
        return "strace is not installed"
    sleeper = subprocess.Popen(["sleep", "30"])
    try:
        # Asked of the kernel, not of its settings: containers forbid it in more than one way.
        tried = subprocess.run(["timeout", "-s", "INT", "0.5", "strace", "-p", str(sleeper.pid)], capture_output=True,
                               text=True)
    finally:
        sleeper.kill()
        sleeper.wait()
    return None if "attached" in tried.stderr else f"ptrace is not allowed here: {tried.stderr.strip()[:120]}"


def threads(process):
    """The threads of a process: number -> name."""
    found = {}
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        try:
            found[int(task.name)] = (task / "comm").read_text().strip()
        except OSError:
            continue
    return found


class Injection:
    """While it lasts, these calls of a program fail: in all its threads, or in those of which `which` says so by their
    names. A thread that begins later is then not among them."""

    def __init__(self, hub, fault, log, which=None):
        self.log = log
        if which:
            # Without -f only these threads: the same call of another thread goes well.
            chosen = [number for number, name in threads(hub.process).items() if which(name)]
            if not chosen:
                raise Failure(f"hub {hub.name} has no such thread: {threads(hub.process)}")
            which = [word for number in chosen for word in ("-p", str(number))]
        else:
            which = ["-f", "-p", str(hub.process.pid)]
        calls = fault.split(":", 1)[0]
        self.errors = open(f"{log}.err", "w+b")
        self.strace = subprocess.Popen(
            ["strace", "-o", str(log), "-e", f"trace={calls}", "-e", f"inject={fault}", *which],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.errors)
        deadline = time.monotonic() + ATTACH_SECONDS
        while not re.search(rb"[Pp]rocess \d+ attached", self._said()):
            if self.strace.poll() is not None or time.monotonic() > deadline:
                self.end()
                said = self._said().decode(errors="replace")
                raise Failure(f"strace could not attach to hub {hub.name}: {said[-300:]}")
            time.sleep(0.02)

    def _said(self):
        return Path(self.errors.name).read_bytes()

    def count(self):
        """How many calls failed so far."""
        try:
            return self.log.read_text(errors="replace").count("(INJECTED)")
        except FileNotFoundError:
            return 0

    def at_least(self, count, seconds):
        """Waits until so many calls failed."""
        deadline = time.monotonic() + seconds
        while self.count() < count:
            if time.monotonic() > deadline:
                raise Failure(f"only {self.count()} calls failed in {seconds} s, not {count}: nothing was tested")
            time.sleep(0.02)

    def end(self):
        """The disk is well again. Gives how many calls failed."""
        if self.strace.poll() is None:
            self.strace.send_signal(signal.SIGINT)
            try:
                self.strace.wait(ATTACH_SECONDS)
            except subprocess.TimeoutExpired:
                self.strace.kill()
                self.strace.wait()
        self.errors.close()
        return self.count()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def can_mount(place):
    """In words, why no small file system can be made at a folder; None when it can. It is made by `mount_small`."""
    if os.geteuid() != 0:
        return "a small file system takes root"
    trouble = mount_small(place, "1m")
    if trouble is None:
        unmount(place)
    return trouble


def mount_small(place, size):
    """A file system in memory of this size at a folder; in words, why not, or None."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "syncline-test", str(place)],
                          capture_output=True, text=True)
    return None if done.returncode == 0 else f"mounting is not permitted here: {done.stderr.strip()[:120]}"


def unmount(place):
    # Lazily: a hub that was killed may still be on its way out.
    subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)
