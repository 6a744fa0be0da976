"""Scenario `diffsync`: diff-sync clients behind a network with bad days, saves, a content client and a joined folder,
all on one document, whose hub is killed twice."""

import importlib.util
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from .chaos import Chaos
from .content_client import upload
from .editors import by_rename, in_place, with_line
from .hubs import Failure
from .scene import Scene
from .screen import Screen
from .trees import content, holds

ROOT = Path(__file__).parents[2]
NAME = "shared.txt"


def free_port():
    """A port that nobody has: the hub must have the same one again after it was killed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def example():
    """The client in `examples`, which is what a programmer elsewhere would write."""
    spec = importlib.util.spec_from_file_location("diffsync_client", ROOT / "examples" / "diffsync_client.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def diffsync(run):
    """Everybody adds lines to one document at the same time; in the end everybody has every line once."""
    words = run.tries_or(40)
    with Scene(run, "diffsync", joined=1) as scene:
        (scene.folders[0] / NAME).write_text("".join(f"line {number} that was there\n" for number in range(20)))
        scene.serve_arguments = ["--diffsync", f"127.0.0.1:{free_port()}"]
        scene.start()
        ready = scene.hubs[0].event("diffsync", 20)
        port = int(ready["diffsync"].rsplit(":", 1)[1])
        # Not dialed twice: the newer connection takes the session over, and that may be the twin nobody listens to.
        chaos = Chaos(port, f"{run.seed}-diffsync", ways=("cut",), twice=0)
        typists = [Typist(scene, chaos.port, ready["token"], number, words) for number in range(3)]
        others = [threading.Thread(target=job, args=(scene, words), daemon=True) for job in (save_here, save_there)]
        others.append(threading.Thread(target=terminal, args=(scene, chaos.port, ready["token"], words), daemon=True))
        others.append(threading.Thread(target=upload, args=(scene, ready["content"], NAME, range(words)), daemon=True))
        for thread in [*typists, *others]:
            thread.start()
        for _ in range(2):
            time.sleep(1.0)
            scene.hubs[0].kill9()
            scene.restart(0)
            scene.hubs[0].event("join", 60)
        deadline = time.monotonic() + 240
        for thread in others:
            thread.join(max(0, deadline - time.monotonic()))
        for typist in typists:
            typist.typed.wait(max(0, deadline - time.monotonic()))
        chaos.calm()
        expected = words * 7
        if scene.ledger.total() != expected:
            raise Failure(f"{scene.ledger.total()} of {expected} lines were written: somebody gave up")
        scene.converge(seconds=120, quiet=1.5)

        def problem():
            text = content(scene.folders[0] / NAME).decode()
            for typist in typists:
                if typist.error:
                    return f"typist {typist.number}: {typist.error}"
                if typist.client.text != text:
                    return f"typist {typist.number} has another text than the file"
            return None

        holds(problem, 60, scene.hubs)
        for typist in typists:
            typist.leave.set()
            typist.join(30)
        chaos.close()
        once(scene, ready)
        at_a_terminal(scene, port, ready["token"])
        return (f"{scene.ledger.total()} lines by 3 diff-sync clients, a terminal, a content client and saves on both "
                f"sides, {chaos.cuts} cuts and 2 kills of the hub: all there, once, everywhere")


class Typist(threading.Thread):
    """A diff-sync client that adds lines somewhere in its text."""

    def __init__(self, scene, port, token, number, words):
        super().__init__(daemon=True)
        self.scene, self.number, self.words, self.error = scene, number, words, None
        self.client = example().Client(("127.0.0.1", port), NAME, token)
        # A dozen cuts in a row happen here, and nobody wants to wait a minute for the next attempt.
        self.client.patience = 2
        self.typed, self.leave = threading.Event(), threading.Event()

    def run(self):
        dice = random.Random(f"{self.scene.run.seed}-typist-{self.number}")
        client, ledger = self.client, self.scene.ledger
        try:
            client.run(60)
            for _ in range(self.words):
                marker = ledger.mark("typist")
                client.text = with_line(client.text, dice.randint(1, 20), marker)
                ledger.wrote(NAME, marker)
                client.run(dice.choice((0.0, 0.05, 5.0)))
            self.typed.set()
            while not self.leave.is_set():
                client.run(0.5, self.leave.is_set)
        except BaseException as error:
            self.error = repr(error)
        self.typed.set()


def save_here(scene, words):
    save(scene, 0, words)


def save_there(scene, words):
    save(scene, 1, words)


def save(scene, index, words):
    folder, dice = scene.folders[index], random.Random(f"{scene.run.seed}-saver-{index}")
    for number in range(words):
        marker = scene.ledger.mark("saver")
        text = with_line((folder / NAME).read_text(), dice.randint(1, 20), marker)
        (by_rename, in_place)[number % 2](folder / NAME, text)
        scene.ledger.wrote(NAME, marker)
        time.sleep(dice.uniform(0.02, 0.1))


def terminal(scene, port, token, words):
    """`syncline connect` at the end of a pipe."""
    environment = {"SYNCLINE_TOKEN": token, "PATH": "/usr/bin:/bin"}
    markers = [scene.ledger.mark("pipe") for _ in range(words)]
    script = "".join(f"insert $ {marker}\n" + ("show\n" if number % 10 == 9 else "")
                     for number, marker in enumerate(markers))
    ran = subprocess.run([scene.run.binary, "connect", f"127.0.0.1:{port}", NAME, "--name", "pipe"], env=environment,
                         input=script.encode(), capture_output=True, timeout=200, check=False)
    # Whether it says so or not, what it has not saved it must not claim.
    if ran.returncode == 0:
        scene.ledger.wrote(NAME, *markers)
    else:
        print(f"        connect ended with {ran.returncode}: {ran.stderr.decode()[-300:]}", file=sys.stderr)


def once(scene, ready):
    """The example as a program, as its first lines describe it."""
    marker = scene.ledger.mark("example")
    token = scene.folders[0] / ".syncline" / "token"
    ran = subprocess.run([sys.executable, str(ROOT / "examples" / "diffsync_client.py"), ready["diffsync"], NAME,
                          str(token)], input=marker.encode(), capture_output=True, timeout=60, check=False)
    if ran.returncode != 0 or marker.encode() not in ran.stdout:
        raise Failure(f"the example ended with {ran.returncode}: {ran.stderr.decode()[-500:]}")
    scene.ledger.wrote(NAME, marker)
    scene.converge()


def at_a_terminal(scene, port, token):
    """Many commands pasted at once into `syncline connect`: it carries out each of them. Then the hub is stopped and
    comes back, and the talk goes on where it was."""
    markers = [scene.ledger.mark("paste") for _ in range(8)]
    command = [scene.run.binary, "connect", f"127.0.0.1:{port}", NAME, "--name", "paste"]
    with Screen(command, columns=120, SYNCLINE_TOKEN=token) as screen:
        screen.shows(b"Connected to", seconds=30)
        screen.type("".join(f"insert $ {marker}\r" for marker in markers))
        missing = f"{markers[-1]} did not arrive"
        holds(lambda: None if markers[-1].encode() in content(scene.folders[0] / NAME) else missing, 30, scene.hubs)
        scene.hubs[0].stop()
        screen.shows(b"kept and sent when the hub is back")
        markers.append(scene.ledger.mark("away"))
        screen.type(f"insert $ {markers[-1]}\r")
        scene.restart(0)
        screen.shows(b"Connected again", seconds=30)
        screen.type("stats\r")
        screen.shows(rb" 0 fresh starts, 2 connections")
        screen.type("quit\r")
        if screen.ends(60) != 0:
            raise Failure(f"connect ended with {screen.process.returncode}: {screen.drawn[-400:]!r}")
    scene.ledger.wrote(NAME, *markers)
    scene.converge()
