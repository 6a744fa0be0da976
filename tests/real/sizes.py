"""Scenarios `many` and `big`: ten thousand files, and one of 50 MB."""

import os
import random
import shutil
import time

from .hubs import Failure
from .scene import Scene
from .screen import Screen
from .trees import difference, holds, listing

MANY = 10_000
BIG = 50_000_000
CHANGED = 100


def many(run):
    """10,000 files, nested, empty and binary ones among them; then files made, deleted and renamed."""
    count = run.tries_or(MANY)
    with Scene(run, "many", joined=1) as scene:
        served, joined = scene.folders
        dice = random.Random(f"{run.seed}-many")
        for number in range(count):
            path = served / f"part-{number % 20}" / f"{number % 7}" / f"file-{number:05}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            if number % 100 == 0:
                path.write_bytes(b"")
            elif number % 100 == 1:
                path.with_suffix(".bin").write_bytes(b"\0\xff\xfe" + dice.randbytes(4093))
            else:
                path.write_text("".join(f"{number} {dice.getrandbits(128):032x}\n" for _ in range(4096 // 40)))
        made = len(listing(served))
        begun = time.monotonic()
        scene.start(seconds=300)
        first = time.monotonic() - begun
        holds(lambda: difference(scene.folders), 120, scene.hubs, pause=0.5)

        begun = time.monotonic()
        paths = sorted(listing(joined))
        dice.shuffle(paths)
        some = min(CHANGED, count // 10)
        for number, path in enumerate(paths[:some]):
            (joined / path).unlink()
            (joined / f"made-{number}.txt").write_text(f"made {dice.getrandbits(64)}\n")
        for number, path in enumerate(paths[some:2 * some]):
            target = joined / "moved" / f"{number}" / os.path.basename(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            (joined / path).rename(target)
        whole = paths[2 * some].split("/")[0]
        shutil.copytree(joined / whole, joined / "copied", symlinks=True)
        expected = sorted(listing(joined))
        holds(lambda: difference(scene.folders), 180, scene.hubs, quiet=2.0, pause=0.5)
        if sorted(listing(served)) != expected:
            raise Failure("the joined folder's own changes were undone")
        later = time.monotonic() - begun
        shows_progress(scene)
        return f"{made} files complete in {first:.1f} s; {some} made, deleted and renamed each, in {later:.1f} s"


def shows_progress(scene):
    """Who joins from a terminal sees a bar that fills; who redirects the output sees none."""
    fresh = scene.folders[0].parent / "seen"
    # Wide enough that the bar is not cut.
    with Screen([scene.run.binary, "join", scene.link, str(fresh)], columns=120) as screen:
        screen.shows(rb"\[=+>? *\] [0-9]+/[0-9]+ files", seconds=120)


def big(run):
    """One file of 50 MB: carried, and then changed in a word on either side."""
    with Scene(run, "big", joined=1) as scene:
        served, joined = scene.folders
        dice = random.Random(f"{run.seed}-big")
        line = "".join(f"{number:06} {dice.getrandbits(256):064x}\n" for number in range(1000))
        text = line * (BIG // len(line) + 1)
        (served / "big.txt").write_text(text)
        begun = time.monotonic()
        scene.start(seconds=300)
        holds(lambda: difference(scene.folders), 120, scene.hubs, pause=0.2)
        first = time.monotonic() - begun
        times = []
        for number, folder in enumerate((joined, served, joined)):
            word, middle = f"<changed-{number}>", len(text) * (number + 1) // 4
            text = text[:middle] + word + text[middle + 6:]
            other = served if folder is joined else joined
            begun = time.monotonic()
            beside = folder / ".goutputstream-BIG000"
            beside.write_text(text)
            beside.rename(folder / "big.txt")
            wanted = text.encode()
            holds(lambda: same(other / "big.txt", wanted), 120, scene.hubs)
            times.append(time.monotonic() - begun)
        holds(lambda: difference(scene.folders), 60, scene.hubs, quiet=2.0, pause=0.2)
        changes = ", ".join(f"{seconds:.2f}" for seconds in times)
        return f"{len(text)} bytes complete in {first:.1f} s; a changed word on the other side after {changes} s"


def same(path, wanted):
    if path.stat().st_size == len(wanted) and path.read_bytes() == wanted:
        return None
    return f"{path.parent.name}/{path.name} does not have the changed word"
