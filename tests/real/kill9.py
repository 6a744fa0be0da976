"""Scenario `kill9`: hubs killed at random moments while people save in all folders."""

import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from .content_client import upload
from .editors import PROGRAMS, by_rename, missing_tools, with_line
from .hubs import Failure
from .scene import Scene
from .trees import temporaries

# In which folder an editor is that never loads its file again.
STALE = 1
FILES = [f"busy-{number}.txt" for number in range(5)]
# Saved by all kinds of programs, some of which write in place: these may be half for a moment.
PROGRAM_FILES = [f"program-{number}.txt" for number in range(3)]
LINE = re.compile(r"(line \d+|mk[a-z]+\d{6}[a-z]{6})$")


def kill9programs(run):
    """The same while vim, ed, nano, sed, cp, rsync, `>>` and a slow writer save too."""
    return kill9(run, programs=True)


def kill9(run, programs=False):
    """kill -9 of any hub while all folders are edited: nothing lost, doubled, torn or left behind."""
    kills = run.tries_or(50)
    with Scene(run, "kill9") as scene:
        for name in FILES:
            lines = "".join(f"line {number}\n" for number in range(30))
            (scene.folders[0] / name).write_text(f"begin {name}\n{lines}end {name}\n")
        for name in PROGRAM_FILES if programs else []:
            (scene.folders[0] / name).write_text("".join(f"{name} line {number}\n" for number in range(40)))
        scene.start()
        scene.converge()
        address = scene.hubs[0].event("join", 60)["content"]
        dice, stop = random.Random(f"{run.seed}-kills"), threading.Event()
        killed = [0] * len(scene.hubs)
        with ThreadPoolExecutor(3 * len(scene.folders) + 2) as pool:
            jobs = [pool.submit(write, scene, index, stop) for index in range(len(scene.folders))]
            if programs:
                jobs += [pool.submit(use_programs, scene, index, stop) for index in range(len(scene.folders))]
            jobs += [pool.submit(write_stale, scene, STALE, stop), pool.submit(write_content, scene, address, stop)]
            writers = len(jobs)
            jobs += [pool.submit(watch_wholeness, folder, stop) for folder in scene.folders]
            try:
                for _ in range(kills):
                    time.sleep(dice.uniform(0.05, 1.2))
                    ended = next((job for job in jobs if job.done()), None)
                    if ended:
                        ended.result()
                    index = dice.randrange(len(scene.hubs))
                    scene.hubs[index].must_run()
                    scene.hubs[index].kill9()
                    killed[index] += 1
                    # Half the time people go on saving for a while in a folder that has no hub.
                    time.sleep(dice.choice([0.0, dice.uniform(0.0, 0.5)]))
                    scene.restart(index)
            finally:
                stop.set()
            saves = sum(job.result() for job in jobs[:writers])
            looks = sum(job.result() for job in jobs[writers:])
        if scene.hubs[0].event("join", 60)["join"] != scene.link:
            raise Failure("the join link changed over a restart, so joined folders cannot come back")
        # A joined hub may have backed off for up to a minute.
        scene.converge(seconds=180, quiet=2.0)
        for folder in scene.folders:
            for name in FILES:
                must_be_whole(folder / name)
        left = temporaries(scene.folders)
        if left:
            raise Failure(left)
        shares = ", ".join(f"{hub.name} {times}" for hub, times in zip(scene.hubs, killed))
        return f"{sum(killed)} kills ({shares}) during {saves} saves: all there once, {looks} looks found every file whole"


def write(scene, index, stop):
    """Adds lines to random files of one folder until told to stop, whether or not a hub is running."""
    folder, dice = scene.folders[index], random.Random(f"{scene.run.seed}-writer-{index}")
    saves = 0
    while not stop.is_set():
        # Not the file over which this machine's other program saves what it read long ago: while no hub runs, nobody
        # but the file itself has what that takes out.
        path = folder / dice.choice(FILES[1:] if index == STALE else FILES)
        text = must_be_whole(path)
        marker = scene.ledger.mark("kill")
        by_rename(path, with_line(text, dice.randint(1, 25), marker))
        # The save is done: from here on the line must never be missing.
        scene.ledger.wrote(path.name, marker)
        saves += 1
        time.sleep(dice.uniform(0.01, 0.15))
    return saves


def use_programs(scene, index, stop):
    """vim, ed, nano, sed, cp, rsync, `>>` and a slow writer, one after the other, whether or not a hub is running."""
    dice, missing = random.Random(f"{scene.run.seed}-programs-{index}"), missing_tools()
    usable = [program for program in PROGRAMS if program[1] not in missing]
    saves = 0
    while not stop.is_set():
        name, _, edit = usable[(index * 3 + saves) % len(usable)]
        path = scene.folders[index] / dice.choice(PROGRAM_FILES)
        marker = scene.ledger.mark(name)
        edit(path, marker, dice)
        scene.ledger.wrote(path.name, marker)
        saves += 1
        time.sleep(dice.uniform(0.01, 0.15))
    return saves


def write_stale(scene, index, stop):
    """An editor that never loads its file again: it saves its own buffer, to which it adds, over what others wrote."""
    path, dice = scene.folders[index] / FILES[0], random.Random(f"{scene.run.seed}-stale")
    text, saves = must_be_whole(path), 0
    while not stop.is_set():
        marker = scene.ledger.mark("stale")
        text = with_line(text, dice.randint(1, 25), marker)
        by_rename(path, text)
        scene.ledger.wrote(path.name, marker)
        saves += 1
        time.sleep(dice.uniform(0.2, 0.8))
    return saves


def write_content(scene, address, stop):
    """A content client, which sends again what was not answered: what was is acknowledged, and must stay."""
    sent = 0

    def numbers():
        nonlocal sent
        while not stop.is_set():
            yield sent
            sent += 1

    upload(scene, address, FILES[1], numbers())
    return sent


def watch_wholeness(folder, stop):
    """Reads the files all the time: every writer here renames, so none may ever be half or missing."""
    looks = 0
    while not stop.is_set():
        for name in FILES:
            must_be_whole(folder / name)
            looks += 1
        time.sleep(0.02)
    return looks


def must_be_whole(path):
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise Failure(f"{path.parent.name}/{path.name} was missing for a moment") from None
    lines = text.splitlines()
    if not text.endswith("\n") or lines[0] != f"begin {path.name}" or lines[-1] != f"end {path.name}":
        raise Failure(f"{path.parent.name}/{path.name} was not whole: it begins {text[:40]!r} and ends {text[-40:]!r}")
    torn = [line for line in lines[1:-1] if not LINE.match(line)]
    if torn:
        raise Failure(f"{path.parent.name}/{path.name} has torn lines: {torn[:3]}")
    return text
