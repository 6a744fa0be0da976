"""Scenario `local`: users of one machine, each with a copy of one document, and no server."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
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


def local(run):
    """Users of one machine: everybody's copy ends the same, and no edit is lost or doubled."""
    runs = run.tries_or(40)
    report = []
    for count in (3, 4, 5, 16):
        for way in ("mq", "shm"):
            edits = random_edits(run, count, runs if count < 16 else max(1, runs // 2), ["--transport", way])
            report.append(f"{count} users by {way}: {edits} edits")
    for check in (late, killed, stopped, sixth, long_lines, save_beside_write, strict, last_writer,
                  bridged, whole_folder, without_queues, two_accounts):
        report.append(check(run))
    return "; ".join(report)


def random_edits(run, count, rounds, arguments):
    """Rounds of random edits at random places by everybody; all copies are equal after each."""
    with Neighbours(run, count, arguments=arguments) as group:
        group.start_all()
        group.give("\n".join(f"filler {number}" for number in range(30)) + "\n")
        dice = random.Random(f"{run.seed}-{count}-{arguments}")
        edits = 0
        for _ in range(rounds):
            for index in dice.sample(range(count), count):
                for _ in range(dice.randrange(1, 3)):
                    group.edit(dice, index)
                    edits += 1
                    time.sleep(dice.choice((0, 0, 0.002, 0.01)))
            group.equal(60)
        return edits


def late(run):
    """Who comes late gets everything, also when whoever wrote it is gone."""
    with Neighbours(run, 3) as group:
        group.start(0)
        group.start(1)
        dice = random.Random(run.seed)
        for _ in range(10):
            group.edit(dice, dice.randrange(2))
            time.sleep(0.03)
        holds(lambda: None if content(group.path(0)) == content(group.path(1)) else "not equal", 20, group.users[:2])
        group.users[0].stop()
        group.start(2)
        group.equal(20)
    return "a late user catches up from any peer"


def killed(run):
    """kill -9 while everybody edits, and back again, editing while away."""
    with Neighbours(run, 3) as group:
        group.start_all()
        group.give("\n".join(f"filler {number}" for number in range(20)) + "\n")
        dice = random.Random(f"{run.seed}-killed")
        for number in range(6):
            victim = dice.randrange(3)
            for _ in range(6):
                group.edit(dice, dice.randrange(3))
            time.sleep(dice.uniform(0, 0.01))
            group.users[victim].kill9()
            # Saved while nothing runs there.
            group.edit(dice, victim)
            group.edit(dice, (victim + 1) % 3)
            group.start(victim)
            group.equal(30)
        queues = leftover_slots(group)
    return f"6 kills, rejoined; {queues}"


def leftover_slots(group):
    """A user who was killed never keeps a place from others."""
    for _ in range(7):
        group.users[2].kill9()
        group.start(2)
    group.equal(20)
    return "7 more kills leak no place"


def stopped(run):
    """A user who is stopped for a while delays nobody but themselves, and loses nothing."""
    for way in ("mq", "shm"):
        with Neighbours(run, 3, arguments=["--transport", way]) as group:
            group.start_all()
            group.users[2].process.send_signal(signal.SIGSTOP)
            dice = random.Random(f"{run.seed}-{way}")
            for _ in range(40):
                group.edit(dice, dice.randrange(2))
                time.sleep(0.01)
            # More than any queue holds.
            filler = "\n".join(f"filler {number} {'x' * 80}" for number in range(4000))
            text = content(group.path(0)).decode()
            group.path(0).write_text(text + filler)

            def others():
                one, two = content(group.path(0)), content(group.path(1))
                return None if one == two and len(one) > len(filler) else "the others wait for the stopped one"

            holds(others, 20, group.users[:2])
            time.sleep(1.5)
            group.users[2].process.send_signal(signal.SIGCONT)
            group.equal(60, len(filler))
    return "a stopped user delays only themselves"


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


def long_lines(run):
    """A line of 100 KB, changed by two people at once, by message queues."""
    with Neighbours(run, 2, arguments=["--transport", "mq"]) as group:
        group.start_all()
        line = "word " * 20_000
        group.give(f"begin\n{line}\nend\n")
        first, second = group.ledger.mark("one"), group.ledger.mark("two")
        text = content(group.path(0)).decode()
        group.path(0).write_text(text.replace("begin\n", f"begin\n{first} ", 1))
        group.path(1).write_text(text.replace("\nend", f" {second}\nend", 1))
        group.ledger.wrote("document", first, second)
        group.equal(20, 100_000)
        # All of it goes at once.
        group.path(0).write_text(f"{first} {second}\n")
        group.equal(20)
    return "lines of 100 KB"


def save_beside_write(run):
    """Saves in the very moment in which others' changes are written into the file."""
    with Neighbours(run, 2) as group:
        group.start_all()
        group.give("\n".join(f"filler {number}" for number in range(20)) + "\n")
        dice = random.Random(f"{run.seed}-beside")
        for _ in range(60):
            group.edit(dice, 0)
            # The other's hub writes about now.
            until = time.perf_counter() + dice.uniform(0.001, 0.008)
            while time.perf_counter() < until:
                pass
            group.edit(dice, 1)
        group.equal(30)
    return "60 saves beside a merge's write"


def strict(run):
    """The strict rule: nothing is sent before the fifth operation, and then all of it."""
    with Neighbours(run, 2, arguments=["--batch", "5", "--flush-ms", "never"]) as group:
        group.start_all()
        before = content(group.path(1))
        for number in range(5):
            mark = group.ledger.mark("strict")
            with open(group.path(0), "a") as file:
                file.write(f"{mark}\n")
            group.ledger.wrote("document", mark)
            time.sleep(0.3)
            if number < 4 and content(group.path(1)) != before:
                raise Failure(f"something was sent after {number + 1} operations")
        group.equal(20)
    return "--batch 5 --flush-ms never sends five at a time"


def last_writer(run):
    """The last writer's rule: of what three write at one place one stays, everywhere; the rest can be had again."""
    with Neighbours(run, 3, arguments=["--on-conflict", "last-writer-wins"]) as group:
        group.start_all()
        line = "in this line of many words the value of x is now {} and nothing else changes"
        group.give("\n".join([line.format("ten"), "a line of words", "another line of words", ""]))
        # Nobody hears of the others' saves before all have saved.
        for number in range(8):
            for user in group.users:
                user.process.send_signal(signal.SIGSTOP)
            text = content(group.path(0)).decode().split("\n")
            for index in range(3):
                lines = [line.format(f"value{number}{index}"), *text[1:]]
                group.path(index).write_text("\n".join(lines))
            for user in group.users:
                user.process.send_signal(signal.SIGCONT)

            def problem():
                texts = {content(path) for path in group.paths()}
                if len(texts) > 1:
                    return f"round {number}: {texts}"
                x = texts.pop().decode().split("\n")[0]
                wanted = [line.format(f"value{number}{index}") for index in range(3)]
                return None if x in wanted else f"round {number}: {x!r}"

            holds(problem, 20, group.users)
        listed = [conflicts(run, group, index) for index in range(3)]
        if any(each != listed[0] for each in listed) or len(listed[0]) < 8:
            raise Failure(f"conflicts differ, or are too few: {[len(each) for each in listed]}")
        lost = next(each for each in reversed(listed[0]) if each["lost"] and not each["both_stand"])
        again = subprocess.run([run.binary, "conflicts", str(group.path(1)), "--restore", lost["id"]],
                               capture_output=True, text=True, timeout=30)
        if again.returncode != 0:
            raise Failure(f"restoring {lost} failed: {again.stderr}")
        holds(lambda: None if all(lost["lost"] in content(path).decode() for path in group.paths()) else "not restored",
              20, group.users)
    return f"last writer wins: {len(listed[0])} conflicts, the same for everybody, and one taken back"


def conflicts(run, group, index):
    """What `syncline conflicts` lists of a user's copy."""
    done = subprocess.run([run.binary, "--json", "conflicts", str(group.path(index))], capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise Failure(f"conflicts failed: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


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
