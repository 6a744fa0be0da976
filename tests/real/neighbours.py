"""Users of one machine, each with a copy of one document: starting, editing, comparing."""

import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from .editors import by_rename, in_place
from .hubs import Failure, Hub
from .ledger import Ledger
from .trees import content, holds


class Neighbours:
    """So many users of one group in one folder. The folder is kept when something fails."""

    def __init__(self, run, count, name="local", arguments=()):
        self.run, self.arguments = run, list(arguments)
        self.base = Path(tempfile.mkdtemp(prefix=f"syncline-{name}-", dir=run.work))
        self.logs = self.base / "logs"
        self.logs.mkdir()
        self.folder = self.base / "docs"
        self.folder.mkdir()
        self.group = f"test{os.getpid()}.{random.randrange(10**6)}"
        self.users = [Hub(run.binary, f"user_{number}", self.folder, self.logs) for number in range(1, count + 1)]
        self.ledger = Ledger(f"{run.seed}-{name}-{count}")

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        failed = None
        for user in self.users:
            try:
                if user.running():
                    user.process.send_signal(signal.SIGCONT)
                user.stop()
            except Failure as failure:
                failed = failure
        panics = [user.name for user in self.users if user.panicked()]
        Path(f"/dev/shm/syncline-{os.geteuid()}-{self.group}.doc").unlink(missing_ok=True)
        if kind is None and not panics and not failed and not self.run.keep:
            shutil.rmtree(self.base, ignore_errors=True)
            return
        print(f"        the folder and logs are kept in {self.base}", file=sys.stderr)
        if kind is None and (panics or failed):
            raise failed or Failure(f"everything came out right, but these users panicked: {', '.join(panics)}")

    def path(self, index):
        return self.folder / f"{self.users[index].name}_doc.txt"

    def paths(self):
        return [self.path(index) for index in range(len(self.users))]

    def start(self, index, wait=True, arguments=()):
        user = self.users[index]
        user.start(["--json", "local", user.name, "--dir", str(self.folder), "--group", self.group,
                    "--max-users", str(max(5, len(self.users))), *self.arguments, *arguments])
        if wait:
            user.event("synced", 60)

    def start_all(self):
        for index in range(len(self.users)):
            self.start(index, wait=False)
        for user in self.users:
            user.event("synced", 60)

    def give(self, text):
        """Everybody has this text. Written once, by the first user."""
        self.path(0).write_text(text)
        self.equal(20, len(text.encode()))

    def equal(self, seconds, at_least=0, marked=True):
        """Waits until all copies are equal and hold every marked line once."""

        def problem():
            texts = [content(path) for path in self.paths()]
            if any(text is None or len(text) < at_least for text in texts):
                return f"a copy is missing or too short: {[text and len(text) for text in texts]}"
            if len(set(texts)) > 1:
                return f"{len(set(texts))} different copies of {len(texts)}: lengths {[len(text) for text in texts]}"
            return self.ledger.problem_in(texts[0]) if marked else None

        holds(problem, seconds, [user for user in self.users if user.running()])

    def edit(self, dice, index):
        """One user changes a random place of their copy, without losing what they read."""
        path = self.path(index)
        read = content(path).decode()
        lines = read.split("\n")
        mark = self.ledger.mark(f"u{'abcdefghijklmnop'[index]}")
        kind = dice.randrange(10)
        at = dice.randrange(len(lines))
        if kind < 5:
            lines.insert(at, f"{mark} {'word ' * dice.randrange(6)}")
        elif kind < 8:
            # In the middle of a line.
            column = dice.randrange(len(lines[at]) + 1)
            while 0 < column < len(lines[at]) and not lines[at][column - 1].isspace():
                column -= 1
            lines[at] = f"{lines[at][:column]} {mark} {lines[at][column:]}"
        else:
            lines[at:at] = [f"{mark} several", "lines at once", ""]
        # Lines that carry no marker may go: a deletion of several lines.
        if dice.randrange(4) == 0:
            plain = [number for number, line in enumerate(lines)
                     if line.startswith(("lines at once", "filler")) and "mk" not in line]
            for number in sorted(plain[: dice.randrange(4)], reverse=True):
                del lines[number]
        (in_place, by_rename)[dice.randrange(2)](path, "\n".join(lines))
        self.ledger.wrote("document", mark)
