"""A scene: one served folder, joined ones, their hubs, and what must be true of them in the end."""

import shutil
import sys
import tempfile
from pathlib import Path

from .hubs import Failure, Hub, port_in
from .ledger import Ledger
from .proxy import Proxy
from .trees import content, difference, holds, listing, temporaries


class Scene:
    """Folder `a` is served, `b`, `c`, … are joined. The folder is kept when the scene fails."""

    def __init__(self, run, name, joined=2, proxied=False):
        self.run, self.name = run, name
        self.base = Path(tempfile.mkdtemp(prefix=f"syncline-{name}-", dir=run.work))
        self.logs = self.base / "logs"
        self.logs.mkdir()
        self.folders = [self.base / letter for letter in "abcdefgh"[: joined + 1]]
        self.folders[0].mkdir()
        self.hubs = [Hub(run.binary, folder.name, folder, self.logs) for folder in self.folders]
        self.ledger = Ledger(f"{run.seed}-{name}")
        self.proxied, self.proxy = proxied, None
        self.port, self.link = 0, None
        # What else `serve` is told.
        self.serve_arguments = []

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        for hub in self.hubs:
            try:
                hub.stop()
            except Failure as failure:
                print(f"        {failure}", file=sys.stderr)
        if self.proxy:
            self.proxy.close()
        panics = [hub.name for hub in self.hubs if hub.panicked()]
        if kind is None and not panics and not self.run.keep:
            shutil.rmtree(self.base, ignore_errors=True)
            return
        print(f"        the folders and logs of {self.name} are kept in {self.base}", file=sys.stderr)
        for hub in self.hubs if kind is not None else []:
            print(f"        hub {hub.name}: {hub.last_words()}", file=sys.stderr)
        if kind is None and panics:
            raise Failure(f"everything came out right, but these hubs panicked: {', '.join(panics)}")

    def start(self, seconds=60):
        """Serves the first folder, joins the others, and returns when all are complete."""
        self.serve(seconds)
        for index in range(1, len(self.hubs)):
            self.join(index)
        for hub in self.hubs[1:]:
            hub.event("synced", seconds)

    def serve(self, seconds=60):
        hub = self.hubs[0]
        hub.start(["serve", str(hub.folder), "--listen", f"127.0.0.1:{self.port}", "--json", *self.serve_arguments])
        ready = hub.event("join", seconds)
        for key in ("join", "content", "ws", "token"):
            if key not in ready:
                raise Failure(f"the line that `serve --json` prints has no `{key}`: {ready}")
        if self.port == 0:
            self.port, self.link = port_in(ready["ws"]), ready["join"]
            if self.proxied:
                self.proxy = Proxy(self.port)
                port_in(self.link)
                self.link = self.link.replace(f":{self.port}", f":{self.proxy.port}")
        elif port_in(ready["ws"]) != self.port:
            raise Failure(f"the server was started on port {self.port} and serves {ready['ws']}")
        elif not self.proxied and ready["join"] != self.link:
            raise Failure(f"the join link changed over a restart: {self.link} became {ready['join']}")

    def join(self, index):
        hub = self.hubs[index]
        hub.start(["join", self.link, str(hub.folder), "--json"])

    def restart(self, index):
        """Starts a hub again after it was stopped or killed; does not wait until it is ready."""
        if index == 0:
            hub = self.hubs[0]
            hub.start(["serve", str(hub.folder), "--listen", f"127.0.0.1:{self.port}", "--json", *self.serve_arguments])
        else:
            self.join(index)

    def expect(self, name, text, seconds=30, folders=None):
        """Waits until the file is exactly this text in every folder."""
        wanted = text.encode()

        def problem():
            for folder in folders or self.folders:
                data = content(folder / name)
                if data != wanted:
                    return f"{folder.name}/{name}: {describe(data, wanted)}"
            return None

        holds(problem, seconds, self.hubs)

    def converge(self, seconds=60, quiet=1.0):
        """Waits until all folders are byte-identical, hold every written line exactly once, and hold no
        temporary file; and stay so."""
        def problem():
            return self.ledger.problem(self.folders) or difference(self.folders) or temporaries(self.folders)

        holds(problem, seconds, self.hubs, quiet)

    def no_strangers(self, names):
        """The folders hold these files and no other: no conflict copies, no backups."""
        for folder in self.folders:
            strangers = sorted(set(listing(folder)) - set(names))
            if strangers:
                raise Failure(f"{folder.name} holds files nobody made: {strangers[:5]}")


def describe(data, wanted):
    """In words, how the bytes differ from those that were wanted."""
    if data is None:
        return "the file is missing"
    ours, theirs = data.decode(errors="replace").splitlines(), wanted.decode().splitlines()
    lost = [line for line in theirs if ours.count(line) < theirs.count(line)]
    extra = [line for line in ours if theirs.count(line) < ours.count(line)]
    return f"missing lines {lost[:4]}, lines too many {extra[:4]} ({len(data)} bytes, expected {len(wanted)})"
