"""Scenarios `diskfaults` and `fulldisk`: the disk of a running hub fails, or is full, while people save. Nothing is
acknowledged or passed on that is not recorded, every file stays whole, and all recovers when the disk does."""

import json
import random
import shutil
import sqlite3

from .editors import by_rename, with_line
from .hubs import Failure
from .injection import Injection, can_mount, mount_small, unmount, why_not
from .kill9 import FILES, must_be_whole
from .scene import Scene
from .trees import content, holds
from .websocket import WebSocket

# What fails, and where: in the journal's thread, in those that save files, or in all.
FAULTS = [
    ("journal fsync EIO", "fsync,fdatasync:error=EIO", lambda name: name == "journal"),
    ("journal write ENOSPC", "pwrite64:error=ENOSPC", lambda name: name == "journal"),
    ("file write ENOSPC", "pwrite64:error=ENOSPC", lambda name: name != "journal"),
    ("file fsync EIO", "fsync,fdatasync:error=EIO", lambda name: name != "journal"),
    ("journal write EIO", "pwrite64:error=EIO", lambda name: name == "journal"),
    ("file exchange ENOSPC", "renameat2:error=ENOSPC", None),
    ("any fsync EIO", "fsync,fdatasync:error=EIO", None),
    ("any write ENOSPC", "pwrite64:error=ENOSPC", None),
]
# How long it takes at most until somebody is told, and until all is well again, in seconds.
PATIENCE = 60
# So many calls fail before the disk is well again: the first, and the tries after it.
FAILING = 3
# A line that is written by a thread which strace does not have is no test; so often another one is saved.
MISSES = 20


def diskfaults(run):
    """fsync and writes of the journal and of files fail under real hubs, one kind after the other."""
    trouble = why_not()
    if trouble:
        print(f"SKIPPED: diskfaults: {trouble}", flush=True)
        return f"SKIPPED: {trouble}"
    kinds = FAULTS[:run.tries_or(len(FAULTS))]
    with Scene(run, "diskfaults", joined=1) as scene:
        begin(scene)
        failed, told = 0, set()
        for number, (what, fault, which) in enumerate(kinds):
            for index, hub in enumerate(scene.hubs):
                log = scene.logs / f"strace-{number}-{index}.log"
                with Injection(hub, fault, log, which) as injection:
                    try:
                        episode = save_fails if what.startswith("file") else record_fails
                        told |= episode(scene, index, injection, "ENOSPC" in what)
                    except Failure as failure:
                        raise Failure(f"{what} at hub {hub.name}: {failure}") from failure
                    failed += injection.count()
                recover(scene, what)
        # A kill while nothing can be recorded, and the journal read by the next hub.
        what, fault, which = FAULTS[0]
        with Injection(scene.hubs[0], fault, scene.logs / "strace-kill.log", which) as injection:
            save(scene, 0)
            injection.at_least(1, PATIENCE)
            scene.hubs[0].kill9()
        scene.restart(0)
        recover(scene, f"a kill during {what}")
        from_the_journal(scene)
        return (f"{len(kinds)} kinds of faults at either hub, {failed} calls failed: nothing acknowledged before it was "
                f"recorded, all {scene.ledger.total()} lines there once; clients were told {', '.join(sorted(told))}")


def fulldisk(run):
    """The file system of one folder, then of the other, is full while people save, then has space again."""
    times = run.tries_or(3)
    with Scene(run, "fulldisk", joined=1) as scene:
        trouble = can_mount(scene.folders[0])
        if trouble:
            print(f"SKIPPED: fulldisk: {trouble}", flush=True)
            return f"SKIPPED: {trouble}"
        try:
            for folder in scene.folders:
                folder.mkdir(exist_ok=True)
                mount_small(folder, "8m")
            begin(scene)
            for _ in range(times):
                for index in range(len(scene.folders)):
                    full_episode(scene, index)
                    recover(scene, "a full disk")
            from_the_journal(scene)
            return (f"{times} times full on either side: clients were told storage_full, all {scene.ledger.total()} lines "
                    "there once")
        finally:
            for hub in scene.hubs:
                hub.stop()
            for folder in scene.folders:
                unmount(folder)


def begin(scene):
    for name in FILES:
        lines = "".join(f"line {number}\n" for number in range(30))
        (scene.folders[0] / name).write_text(f"begin {name}\n{lines}end {name}\n")
    scene.start()
    scene.converge()


def save(scene, index):
    """One more line in a file of a folder, by renaming. Gives the file and the line."""
    dice = random.Random(f"{scene.run.seed}-{scene.ledger.total()}")
    path = scene.folders[index] / dice.choice(FILES[1:])
    marker = scene.ledger.mark("fault")
    by_rename(path, with_line(must_be_whole(path), dice.randint(1, 25), marker))
    scene.ledger.wrote(path.name, marker)
    return path.name, marker


class Client:
    """A content client of the first file at the served hub, with one request that it says again until it is answered."""

    def __init__(self, scene):
        self.scene, self.marker = scene, scene.ledger.mark("client")
        self.address = scene.hubs[0].event("join", PATIENCE)["content"] + f"/{FILES[0]}"
        self.line = WebSocket(self.address, PATIENCE)
        update = json.loads(self.line.receive())
        text = with_line(update["content"], 5, self.marker)
        self.request = json.dumps({"type": "update_request", "base": update["version"], "content": text,
                                   "request_id": self.marker})

    def ask(self):
        """Says the request; the code of the error that it got, `closed`, or None: it was acknowledged."""
        try:
            if self.line is None:
                self.line = WebSocket(self.address, PATIENCE)
            self.line.send(self.request)
            while True:
                message = json.loads(self.line.receive())
                if message["type"] == "update_result":
                    return None
                if message["type"] == "error":
                    return message["code"]
        except OSError:
            self.line = None
            return "closed"

    def ask_in_vain(self, full):
        """Says it while nothing can be recorded. Gives what the client was told."""
        told = self.ask()
        if told is None:
            raise Failure("an upload was acknowledged though nothing can be recorded")
        if full and told != "storage_full":
            raise Failure(f"the client was told {told}, not storage_full")
        return told

    def ask_until_acknowledged(self):
        def problem():
            code = self.ask()
            return code and f"the client is not acknowledged but told {code}"

        holds(problem, PATIENCE, self.scene.hubs, pause=0.2)
        self.scene.ledger.wrote(FILES[0], self.marker)


def record_fails(scene, index, injection, full):
    """What is saved and uploaded at a hub whose journal fails is nowhere else. Gives what the client was told."""
    hub, other = scene.hubs[index], scene.folders[1 - index]
    before = troubles(hub)
    client = Client(scene) if index == 0 else None
    told = {client.ask_in_vain(full)} if client else set()
    name, marker = save(scene, index)
    injection.at_least(FAILING, PATIENCE)
    must_tell(hub, before)
    if marker in must_be_whole(other / name):
        raise Failure(f"{marker} was passed on before it was recorded")
    if client and client.marker in content(other / FILES[0]).decode():
        raise Failure("an upload was passed on before it was recorded")
    all_whole(scene)
    injection.end()
    if client:
        client.ask_until_acknowledged()
    return told


def save_fails(scene, index, injection, full):
    """What comes from elsewhere is not in the files of a hub that cannot save, nor a part of it. Gives an empty set: no
    client is told."""
    hub, folder = scene.hubs[index], scene.folders[index]
    before = troubles(hub)
    for _ in range(MISSES):
        name, marker = save(scene, 1 - index)
        failed = injection.count()
        # It fails, or it was written by a thread that strace does not have.
        holds(lambda: None if injection.count() > failed or marker in content(folder / name).decode() else
              f"{marker} neither comes nor fails", PATIENCE, scene.hubs)
        if marker not in content(folder / name).decode():
            break
    else:
        raise Failure(f"{MISSES} saves were made by threads that strace does not have: nothing was tested")
    must_tell(hub, before)
    all_whole(scene)
    injection.end()
    return set()


def troubles(hub):
    with hub.heard:
        return sum(1 for event in hub.events if event.get("event") == "trouble")


def must_tell(hub, before):
    """The person at the hub is told that something is wrong."""
    holds(lambda: None if troubles(hub) > before else "nobody was told of it", PATIENCE, [hub])


def all_whole(scene):
    for folder in scene.folders:
        for name in FILES:
            must_be_whole(folder / name)


def recover(scene, what):
    """Unaided: nobody starts or stops anything."""
    try:
        scene.converge(seconds=3 * PATIENCE, quiet=0.5)
    except Failure as failure:
        raise Failure(f"after {what}: {failure}") from failure


def from_the_journal(scene):
    """The journals are sound, and what the first one has makes a folder that holds everything."""
    for hub in scene.hubs:
        hub.stop()
        journal = sqlite3.connect(hub.folder / ".syncline" / "journal.db")
        try:
            found = journal.execute("PRAGMA integrity_check").fetchone()[0]
        finally:
            journal.close()
        if found != "ok":
            raise Failure(f"the journal of {hub.name} is damaged: {found}")
    # Below it, if it is a file system of its own, is an empty folder.
    unmount(scene.folders[1])
    shutil.rmtree(scene.folders[1])
    scene.restart(0)
    scene.restart(1)
    scene.hubs[1].event("synced", PATIENCE)
    recover(scene, "making a folder anew")


def fill(ballast):
    """Leaves no free block on the file system of this file."""
    block = 1 << 16
    with open(ballast, "wb", buffering=0) as file:
        while block:
            try:
                if file.write(bytes(block)) < block:
                    raise OSError("a part of it was written")
            except OSError:
                block //= 2


def full_episode(scene, index):
    """Nothing can be recorded or saved in one folder; the other side goes on, and what is there can be read."""
    hub, folder = scene.hubs[index], scene.folders[index]
    ballast, before = folder / ".syncline" / "ballast", troubles(hub)
    fill(ballast)
    # A client of the hub that has space is answered.
    client = Client(scene)
    if index == 0:
        client.ask_in_vain(full=True)
    else:
        client.ask_until_acknowledged()
    name, marker = save(scene, 1 - index)
    must_tell(hub, before)
    all_whole(scene)
    if marker in must_be_whole(folder / name):
        raise Failure("a line was written into a file on a full disk")
    ballast.unlink()
    client.ask_until_acknowledged()
