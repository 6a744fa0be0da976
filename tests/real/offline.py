"""Scenario `offline`: the network, or the server, is away while both sides go on."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

from .editors import by_rename, in_place, with_line
from .scene import Scene

FILES = [f"paper-{number}.txt" for number in range(5)]


def offline(run):
    """Hundreds of saves on both sides of a cut connection, and of a stopped server; then all converge."""
    saves = run.tries_or(200)
    results = []
    for way in ("cut", "stopped"):
        with Scene(run, f"offline-{way}", proxied=way == "cut") as scene:
            for name in FILES:
                (scene.folders[0] / name).write_text("".join(f"{name} line {number}\n" for number in range(40)))
            (scene.folders[0] / "deleted-later.txt").write_text("this file will go\n")
            (scene.folders[0] / "renamed-later.txt").write_text("this file will move\n" * 10)
            scene.start()
            scene.converge()
            if way == "cut":
                scene.proxy.cut()
            else:
                scene.hubs[0].stop()
            with ThreadPoolExecutor(8) as pool:
                jobs = [pool.submit(edit, scene, index, saves) for index in range(len(scene.folders))]
                for job in jobs:
                    job.result()
            begun = time.monotonic()
            if way == "cut":
                scene.proxy.heal()
            else:
                scene.serve()
            # The hubs may have backed off for up to a minute.
            scene.converge(seconds=240, quiet=2.0)
            results.append(f"{way}: {saves * len(scene.folders)} saves, together after {time.monotonic() - begun:.1f} s")
    return "; ".join(results)


def edit(scene, index, saves):
    folder, dice = scene.folders[index], random.Random(f"{scene.run.seed}-offline-{index}")
    ledger = scene.ledger
    for number in range(saves):
        path = folder / dice.choice(FILES)
        marker = ledger.mark("away")
        text = with_line(path.read_text(), dice.randint(1, 30), marker)
        (by_rename, in_place)[number % 2](path, text)
        ledger.wrote(path.name, marker)
        if number % 20 == 0:
            new_file(folder, f"new-in-{folder.name}-{number}.txt", ledger)
        time.sleep(dice.uniform(0.005, 0.03))
    # Made independently on every side under one name: joined, with every side's lines.
    new_file(folder, "made-everywhere.txt", ledger)
    if index == 1:
        (folder / "deleted-later.txt").unlink()
        (folder / "renamed-later.txt").rename(folder / "renamed.txt")


def new_file(folder, name, ledger):
    marker = ledger.mark("fresh")
    (folder / name).write_text(f"one line everybody has\n{marker}\n")
    ledger.wrote(name, marker)
