"""Scenario `race`: two saves of one file within 50 ms, again and again."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

from .editors import by_rename, in_place
from .hubs import Failure
from .scene import Scene
from .stale import LINES, started_page
from .trees import content, holds


def race(run):
    """Saves in A and B within 50 ms: different lines both stand; in one line both texts are there."""
    tries = run.tries_or(100)
    with Scene(run, "race") as scene, ThreadPoolExecutor(2) as pool:
        scene.start()
        dice = random.Random(f"{run.seed}-race")
        page = started_page(scene, "raced.txt")
        for number in range(tries):
            first, second = page.changed(3), page.changed(15)
            save_both(pool, dice, number, first, second)
            page.take(first, 3)
            page.take(second, 15)
            page.expect()
        page = started_page(scene, "same-line.txt")
        for number in range(tries):
            race_in_one_line(scene, pool, dice, number, page)
        scene.converge(quiet=2.0)
        scene.no_strangers(["raced.txt", "same-line.txt"])
        return f"{tries} of {tries} on different lines and {tries} of {tries} on one line kept both, no conflict file"


def save_both(pool, dice, number, first, second):
    """Saves the two versions in folders `a` and `b`, at most 50 ms apart, in either order."""
    delays = [0.0, dice.uniform(0.0, 0.05)]
    if dice.random() < 0.5:
        delays.reverse()
    style = (by_rename, in_place)[number % 2]
    jobs = [pool.submit(save_after, delay, style, version.path(index), version.text())
            for index, (version, delay) in enumerate(zip((first, second), delays))]
    for job in jobs:
        job.result()


def save_after(delay, style, path, text):
    time.sleep(delay)
    style(path, text)


def race_in_one_line(scene, pool, dice, number, page):
    """Both write at the end of the same line. Either may stand first; both must stand, once."""
    line = number % LINES
    versions, wanted = [], []
    for who in ("left", "right"):
        wanted.append(scene.ledger.mark(who))
        version = page.changed(0)
        version.lines = [*page.lines[:line], f"{page.lines[line]} {wanted[-1]}", *page.lines[line + 1:]]
        versions.append(version)
    save_both(pool, dice, number, *versions)

    def problem():
        texts = [content(folder / page.name) for folder in scene.folders]
        if texts[0] is None or any(text != texts[0] for text in texts):
            return f"try {number}: the folders differ"
        counts = [texts[0].count(marker.encode()) for marker in wanted]
        return None if counts == [1, 1] else f"try {number}: the two texts are there {counts} times"

    holds(problem, 30, scene.hubs)
    lines = content(scene.folders[0] / page.name).decode(errors="replace").splitlines()
    untouched = page.lines[:line] + page.lines[line + 1:]
    raced = [each for each in lines if each not in untouched]
    if [each for each in lines if each in untouched] != untouched:
        raise Failure(f"try {number}: lines that nobody touched are not as they were")
    # One line with both texts, or the two lines; nothing else.
    if not raced[0].startswith(page.lines[line] + " ") or len(raced) > 2:
        raise Failure(f"try {number}: the raced line became {raced}")
    page.lines = lines
