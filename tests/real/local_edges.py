"""Users of one machine at the edges of it: no place left, no queues, another account, a wiped registry, a server."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .hubs import Failure, Hub
from .neighbours import Neighbours
from .trees import content, holds


def sixth(run):
    """The sixth of five users is told so, and nothing is made for them."""
    with Neighbours(run, 5) as group:
        group.start_all()
        command = [run.binary, "local", "user_6", "--dir", str(group.folder), "--group", group.group]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        if done.returncode != 73 or "5 users" not in done.stderr or "--max-users" not in done.stderr:
            raise Failure(f"a sixth user got exit {done.returncode} and {done.stderr!r}")
        if (group.folder / "user_6_doc.txt").exists():
            raise Failure("a refused user left a file")
        again = subprocess.run([*command[:2], "user_1", *command[3:], "--max-users", "9"], capture_output=True, text=True, timeout=30)
        if again.returncode != 73 or "already" not in again.stderr:
            raise Failure(f"a second user_1 got exit {again.returncode} and {again.stderr!r}")
    return "the sixth user gets a clear error"


def whole_folder(run):
    """All files of a folder, instead of one document."""
    with Neighbours(run, 2) as group:
        folders = [group.base / name for name in ("one", "two")]
        for folder, user in zip(folders, group.users):
            (folder / "sub").mkdir(parents=True)
            (folder / "same.txt").write_text("the same for both\n")
            (folder / "sub" / f"{folder.name}.txt").write_text(f"only {folder.name}\n")
            user.start(["--json", "local", user.name, "--folder", "--dir", str(folder), "--group", group.group])
        for user in group.users:
            user.event("synced", 60)

        def problem():
            trees = [{str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.txt")
                      if ".syncline" not in path.parts} for folder in folders]
            wanted = {"same.txt", "sub/one.txt", "sub/two.txt"}
            return None if trees[0] == trees[1] and set(trees[0]) == wanted else f"{trees}"

        holds(problem, 20, group.users)
        if (folders[0] / "same.txt").read_text() != "the same for both\n":
            raise Failure("a text that both had was doubled")
        # Made at one path by both at once: one file with the lines of both.
        for folder in folders:
            (folder / "new.txt").write_text(f"by {folder.name}\n")

        def joined():
            texts = [content(folder / "new.txt") for folder in folders]
            both = texts[0] == texts[1] and texts[0] and sorted(texts[0].split()) == [b"by", b"by", b"one", b"two"]
            return None if both else f"{texts}"

        holds(joined, 30, group.users)
    Path(f"/dev/shm/syncline-{os.geteuid()}-{group.group}.folder").unlink(missing_ok=True)
    return "whole folders"


def bridged(run):
    """A user who has also joined a server connects everybody here with everybody there."""
    with Neighbours(run, 2) as group:
        there = group.base / "server"
        there.mkdir()
        (there / "other.txt").write_text("other\n")
        server = Hub(run.binary, "server", there, group.logs)
        server.start(["--json", "serve", str(there), "--listen", "127.0.0.1:0"])
        try:
            link = server.event("join", 30)["join"]
            group.start(0, arguments=["--join", link])
            group.start(1)
            marks = [group.ledger.mark("bridge") for _ in range(2)]
            with open(group.path(1), "a") as file:
                file.write(f"{marks[0]}\n")
            shared = there / "document.txt"

            def arrived(path, mark):
                return lambda: None if mark in (content(path) or b"").decode() else f"{mark} is not in {path}"

            holds(arrived(shared, marks[0]), 30, group.users)
            with open(shared, "a") as file:
                file.write(f"{marks[1]}\n")
            holds(arrived(group.path(1), marks[1]), 30, group.users)
            group.equal(10)
            if (group.folder / "other.txt").exists():
                raise Failure("a user of one document got another file")
        finally:
            server.stop()
    return "a user who has joined a server bridges"


def without_queues(run):
    """Where no message queue can be had, shared memory is used, and that is said."""
    if not shutil.which("prlimit"):
        print("SKIPPED: a machine without message queues (prlimit is missing)")
        return "no machine without queues"
    with Neighbours(run, 2) as group:
        for user in group.users:
            arguments = ["local", user.name, "--dir", str(group.folder), "--group", group.group]
            user.binary = "prlimit"
            user.start(["--msgqueue=0:0", run.binary, "--json", *arguments])
        for user in group.users:
            missing = user.event("missing", 30)["missing"]
            if len(missing) != 1 or "message queue" not in missing[0]:
                raise Failure(f"nothing was said of the missing queues: {missing}")
            user.event("synced", 30)
        group.edit(random.Random(run.seed), 0)
        group.equal(20)
        refused = subprocess.run(["prlimit", "--msgqueue=0:0", run.binary, "local", "third", "--transport", "mq",
                                  "--dir", str(group.folder), "--group", group.group], capture_output=True, text=True, timeout=30)
        if refused.returncode == 0 or "--transport" not in refused.stderr:
            raise Failure(f"--transport mq without queues: {refused.returncode}, {refused.stderr!r}")
    return "without message queues"


def without_the_mount(run):
    """Message queues work where nobody has mounted /dev/mqueue."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        print("SKIPPED: a machine on which /dev/mqueue is not mounted (takes root and unshare)")
        return "no machine without /dev/mqueue"
    with Neighbours(run, 3, arguments=["--transport", "mq"]) as group:
        for user in group.users:
            arguments = ["--json", "local", user.name, "--dir", str(group.folder), "--group", group.group, *group.arguments]
            unmounted = "umount -l /dev/mqueue 2>/dev/null; ! mountpoint -q /dev/mqueue && exec \"$0\" \"$@\""
            user.binary = "unshare"
            user.start(["--mount", "sh", "-c", unmounted, run.binary, *arguments])
        for user in group.users:
            if user.event("missing", 30)["missing"]:
                raise Failure("a message queue could not be had without the mount")
            user.event("synced", 30)
        dice = random.Random(run.seed)
        for index in (0, 1, 2, 0, 1, 2):
            group.edit(dice, index)
        group.equal(20)
        if any(event.get("way") != "message queue" for user in group.users for event in user.events if event.get("event") == "met"):
            raise Failure("another way was used")
    return "/dev/mqueue not mounted"


def registry_cut_short(run):
    """Somebody empties the registry, or makes it shorter or longer, while everybody edits: nobody ends, and all meet again."""
    for way in ("mq", "shm"):
        with Neighbours(run, 3, arguments=["--transport", way]) as group:
            group.start(0)
            group.start(1)
            registry = Path(f"/dev/shm/syncline-{os.geteuid()}-{group.group}.doc")
            size = registry.stat().st_size
            dice = random.Random(f"{run.seed}-cut-{way}")
            for length in (0, 100, 5000, 1 << 20, 0):
                os.truncate(registry, length)
                for index in (0, 1):
                    group.edit(dice, index)
            os.truncate(registry, 0)
            # Who comes now finds those who were here.
            group.start(2)
            for index in (0, 1, 2):
                group.edit(dice, index)
            group.equal(30)
            if registry.stat().st_size < size:
                raise Failure("the registry stayed short")
    return "an emptied registry"


def left_by_the_killed(run):
    """What killed users leave in the kernel goes: as soon as somebody notices, or when the next user of any name comes."""
    queues = Path("/dev/mqueue")
    if not os.path.ismount(queues):
        print("SKIPPED: what is left of killed users (/dev/mqueue is not mounted)")
        return "no look at what is left"

    def left(group):
        return sorted(path.name.rpartition("-")[2] for path in queues.glob(f"syncline-*-{group.group}.doc-*"))

    with Neighbours(run, 3, arguments=["--transport", "mq"]) as group:
        group.start_all()
        group.users[1].kill9()
        group.users[2].kill9()
        holds(lambda: None if left(group) == ["user_1"] else f"left behind: {left(group)}", 10, group.users[:1])
        # Nobody is left to notice. The next user gets the first one's place, under another name.
        group.start(1)
        group.users[0].kill9()
        group.users[1].kill9()
        if len(left(group)) != 2:
            raise Failure(f"two killed users left {left(group)}")
        group.start(2)
        if left(group) != ["user_3"]:
            raise Failure(f"left behind: {left(group)}")
        group.users[2].stop()
        if left(group):
            raise Failure(f"a user who left in good order left {left(group)}")
        # Killed and back at once, again and again: nobody who tidies up takes the new queue away.
        group.start(0)
        for _ in range(10):
            group.start(1)
            group.users[1].kill9()
        group.start(1)
        group.start(2)
        group.edit(random.Random(run.seed), 1)
        group.equal(20)
    return "nothing is left of the killed"


def leaving(run):
    """Who leaves does not wait for anything: the others' answers to their last words arrive while they leave."""
    for way in ("mq", "shm"):
        with Neighbours(run, 4, arguments=["--transport", way]) as group:
            group.start_all()
            quickest = 60
            for user in group.users:
                begun = time.monotonic()
                user.stop()
                quickest = min(quickest, time.monotonic() - begun)
            if quickest > 0.8:
                raise Failure(f"by {way} the quickest of four took {quickest:.2f} s to leave")
    return "nobody waits to leave"


def served_beside(run):
    """A folder in which users have copies is not served at the same time, and the other way round."""
    with Neighbours(run, 2) as group:
        group.start(0)
        serve = [run.binary, "serve", str(group.folder), "--listen", "127.0.0.1:0"]
        done = subprocess.run(serve, capture_output=True, text=True, timeout=30)
        if done.returncode != 73 or "syncline local" not in done.stderr:
            raise Failure(f"serving beside a local user: exit {done.returncode} and {done.stderr!r}")
        group.start(1)
        group.edit(random.Random(run.seed), 1)
        holds(lambda: None if content(group.path(0)) == content(group.path(1)) else "not equal", 20, group.users)
    return "not served beside"


INTRUDER = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
group = sys.argv[1]
try:
    open(f"/dev/shm/syncline-0-{group}.doc", "rb")
    print("the registry can be read")
except PermissionError:
    pass
for flags in (os.O_RDONLY, os.O_WRONLY):
    if libc.mq_open(f"/syncline-0-{group}.doc-user_1".encode(), flags | os.O_NONBLOCK) >= 0 or ctypes.get_errno() != 13:
        print("the message queue can be opened, or is not there", ctypes.get_errno())
for generation in range(1, 9):
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.settimeout(5)
    try:
        peer.connect(chr(0) + f"syncline-0-{group}.doc-0-{generation}")
    except OSError:
        continue
    try:
        peer.sendall(b"SYLR" + bytes(20))
        if peer.recv(1):
            print("the socket let another account in")
    except ConnectionError:
        pass
    print("refused at the socket")
"""


def two_accounts(run):
    """Another account can neither read nor take part."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        print("SKIPPED: two accounts on one machine (takes root and setpriv)")
        return "no second account"
    stranger = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    with Neighbours(run, 1) as group:
        group.start(0)
        group.base.chmod(0o755)
        place = Path(tempfile.mkdtemp(prefix="syncline-stranger-", dir=run.work))
        place.chmod(0o777)
        binary = place / "syncline"
        shutil.copy(run.binary, binary)
        binary.chmod(0o755)
        try:
            tried = subprocess.run([*stranger, sys.executable, "-c", INTRUDER, group.group], capture_output=True, text=True, timeout=30)
            if tried.stdout.split("\n") != ["refused at the socket", ""] or tried.returncode != 0:
                raise Failure(f"another account: {tried.stdout!r} {tried.stderr!r}")
            # The same name and group, by another account: another neighbourhood.
            other = Hub(stranger[0], "stranger", place, group.logs)
            other.start([*stranger[1:], str(binary), "--json", "local", "user_1", "--dir", str(place), "--group", group.group])
            try:
                if other.event("synced", 30)["users"] != []:
                    raise Failure("another account is in the same neighbourhood")
            finally:
                other.stop()
        finally:
            shutil.rmtree(place, ignore_errors=True)
            Path(f"/dev/shm/syncline-65534-{group.group}.doc").unlink(missing_ok=True)
    return "another account is kept out"
