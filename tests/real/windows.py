"""Windows: three of them on one screen, an editor at the file, raw clients, a kill; and pictures of it all."""

import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

from .editors import vim
from .hubs import Failure, Hub
from .scene import Scene
from .trees import content, holds
from .websocket import WebSocket

TOOLS = {"Xvfb": "xvfb", "xdotool": "xdotool", "import": "imagemagick", "vim": "vim"}
PRIME = 2**128 - 159
TEXT = "".join(f"line {number} of the text that everybody sees\n" for number in range(1, 13))


def missing_programs():
    """What a screen takes and is not here, by the packages' names."""
    return [package for tool, package in TOOLS.items() if not shutil.which(tool)]


def sum_of(text):
    """As `diffsync` sums a text, which the windows print."""
    data = text.encode()
    return f"{int.from_bytes(data, 'big') % PRIME:032x}:{len(data)}"


class Screen:
    """A screen of its own, without a window manager."""

    def __init__(self, logs):
        reading, writing = os.pipe()
        self.log = open(logs / "screen.err", "ab")
        self.process = subprocess.Popen(["Xvfb", "-displayfd", str(writing), "-screen", "0", "1600x1200x24", "-nolisten", "tcp"],
                                        pass_fds=[writing], stdout=self.log, stderr=self.log)
        os.close(writing)
        with os.fdopen(reading) as number:
            self.name = f":{number.readline().strip()}"
        if self.name == ":":
            raise Failure("Xvfb did not start")

    def tool(self, *arguments):
        environment = {**os.environ, "DISPLAY": self.name}
        done = subprocess.run([str(argument) for argument in arguments], env=environment, capture_output=True, text=True,
                              timeout=60, check=False)
        if done.returncode != 0:
            raise Failure(f"{' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def picture(self, path):
        self.tool("import", "-window", "root", path)
        # A screen with nothing drawn on it is one colour.
        colours = int(self.tool("identify", "-format", "%k", path))
        if colours < 50:
            raise Failure(f"{path} has only {colours} colours: nothing was drawn")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


class Window(Hub):
    """One `syncline-desktop`. What it prints with `--json` is what it shows."""

    def __init__(self, screen, program, name, mode, place, logs):
        super().__init__(program, name, None, logs)
        self.screen, self.mode, self.place, self.id = screen, mode, place, None
        self.state = logs / f"{name}.state"

    def open(self, link):
        os.environ.update(DISPLAY=self.screen.name, XDG_STATE_HOME=str(self.state), LIBGL_ALWAYS_SOFTWARE="1")
        os.environ.pop("WAYLAND_DISPLAY", None)
        self.start([link, "notes.txt", "--name", self.name, "--mode", self.mode, "--json"])
        self.event("shared", 60)
        found = self.screen.tool("xdotool", "search", "--sync", "--onlyvisible", "--pid", self.process.pid).split()
        self.id = found[-1]
        self.screen.tool("xdotool", "windowmove", self.id, *self.place, "windowsize", self.id, 800, 590)

    def shows(self, problem_of, seconds=30):
        """Waits until the last thing it printed is as wanted."""
        def problem():
            shown = [event for event in self.events if isinstance(event, dict) and "shared" in event]
            wrong = problem_of(shown[-1]) if shown else "nothing"
            return f"window {self.name} shows {shown[-1:]}: {wrong}" if wrong else None

        holds(problem, seconds, [self])

    def shows_text(self, text, seconds=30):
        wanted = sum_of(text)
        self.shows(lambda shown: None if shown["shared"] == wanted else f"wanted {wanted}", seconds)

    def type(self, *keys):
        self.screen.tool("xdotool", "windowfocus", "--sync", self.id)
        for key in keys:
            command = ("key", key[1:]) if key.startswith("^") else ("type", "--delay", "15", key)
            self.screen.tool("xdotool", command[0], "--clearmodifiers", *command[1:])


def windows(run):
    """Three windows and a served file: vim, typing, three uploads from one base, kill -9 of a window with a draft."""
    program = Path(run.binary).with_name("syncline-desktop")
    lacking = missing_programs() + ([] if program.exists() else [f"{program} (cargo build -p syncline-desktop)"])
    if lacking:
        return f"\nSKIPPED: windows, for lack of {', '.join(lacking)}"
    with Scene(run, "windows", joined=0) as scene:
        file = scene.folders[0] / "notes.txt"
        file.write_text(TEXT)
        (scene.folders[0] / "other.txt").write_text("another text\n")
        scene.start()
        screen = Screen(scene.logs)
        ann, bob, cy = people = [
            Window(screen, str(program), name, mode, place, scene.logs)
            for name, mode, place in (("ann", "live", (0, 0)), ("bob", "draft", (800, 0)), ("cy", "draft", (0, 600)))]
        pictures = Path(os.environ.get("SYNCLINE_PICTURES", scene.logs))
        try:
            for window in people:
                window.open(scene.link)
            saved_by_vim(scene, file, people)
            typed_in_a_window(scene, file, people)
            screen.picture(pictures / "windows-typed.png")
            uploads(scene, file, people)
            screen.picture(pictures / "windows-uploaded.png")
            killed_with_a_draft(scene, file, bob, people)
            screen.picture(pictures / "windows-restored.png")
        finally:
            for window in people:
                if window.running():
                    window.kill9()
            screen.close()
        if any(window.panicked() for window in people):
            raise Failure("a window panicked")
        return "three windows showed vim's save and each other's keys; three uploads from one base and a killed draft are all there"


def saved_by_vim(scene, file, people):
    for number in range(3):
        vim(file, f"by vim {number}", scene_dice(scene, number))
        text = content(file).decode()
        for window in people:
            window.shows_text(text)


def scene_dice(scene, number):
    import random
    return random.Random(f"{scene.run.seed}-windows-{number}")


def typed_in_a_window(scene, file, people):
    ann = people[0]
    ann.type("^ctrl+End", "typed by ann", "^Return")
    wait_for(file, ["typed by ann\n"])
    for window in people:
        window.shows_text(content(file).decode())
    ann.shows(lambda shown: None if shown["standing"] == "saved" else "not saved")
    # A draft is nobody else's, and stays whole while the text changes under it.
    people[1].type("^ctrl+End", "drafted by bob", "^Return")
    people[1].shows(lambda shown: None if shown["standing"] == "draft" else "no draft")
    if "drafted by bob" in content(file).decode():
        raise Failure("a draft was shared before it was uploaded")
    ann.type("^ctrl+Home", "on top, by ann", "^Return")
    wait_for(file, ["on top, by ann\n"])
    for window in people:
        window.shows_text(content(file).decode())


def uploads(scene, file, people):
    """Bob's draft and the whole texts of two clients that name no base, all made from one version, at once."""
    address = scene.hubs[0].event("content", 60)["content"]
    lines = [WebSocket(f"{address}/notes.txt") for _ in range(2)]
    texts = [json.loads(line.receive())["content"] for line in lines]
    places = ("line 3 of", "line 9 of")
    barrier = threading.Barrier(3)

    def upload(index):
        new = texts[index].replace(places[index], f"uploaded by client {index}: {places[index]}")
        barrier.wait()
        lines[index].send(json.dumps({"type": "update_request", "content": new}))

    threads = [threading.Thread(target=upload, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    barrier.wait()
    people[1].type("^ctrl+Return")
    for thread in threads:
        thread.join()
    wait_for(file, ["drafted by bob\n", "uploaded by client 0: line 3 of", "uploaded by client 1: line 9 of"])
    for window in people:
        window.shows_text(content(file).decode())


def killed_with_a_draft(scene, file, bob, people):
    bob.type("^ctrl+End", "survives a kill", "^Return")
    bob.shows(lambda shown: None if shown["standing"] == "draft" and shown["kept"] else "the draft is not kept")
    # The key and the line of it that is on the disk are not the same moment.
    time.sleep(0.5)
    bob.kill9()
    people[0].type("^ctrl+Home", "while bob was dead", "^Return")
    wait_for(file, ["while bob was dead\n"])
    bob.open(scene.link)
    bob.shows(lambda shown: None if shown["standing"] == "draft" else "the draft is gone")
    bob.type("^ctrl+Return")
    wait_for(file, ["survives a kill\n", "while bob was dead\n"])
    for window in people:
        window.shows_text(content(file).decode())


def wait_for(file, parts):
    def problem():
        text = content(file).decode()
        counts = {part: text.count(part) for part in parts}
        return None if all(count == 1 for count in counts.values()) else f"{file.name} has {counts}"

    holds(problem, 30)
