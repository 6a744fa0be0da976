"""Scenario `badnetwork`: two hubs are joined to a third over a network that delays, throttles, cuts, goes half-open and
dials twice, while people save on all sides."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from .chaos import SILENCE, Chaos
from .editors import by_rename, with_line
from .hubs import Failure, port_in
from .kill9 import FILES, must_be_whole
from .scene import Scene

# From so many seconds on connections are silent for longer than a hub puts up with: it must notice by itself.
LONG = 90
# A hub that hears nothing closes after 45 s, and one that dials in vain waits up to 60 s.
NOTICED = 60


def badnetwork(run):
    """Bytes come in order or not at all, cut anywhere; all go on, and are together once it is over."""
    silence = NOTICED if run.seconds >= LONG else SILENCE
    with Scene(run, "badnetwork", joined=2) as scene:
        for name in FILES:
            lines = "".join(f"line {number}\n" for number in range(30))
            (scene.folders[0] / name).write_text(f"begin {name}\n{lines}end {name}\n")
        scene.serve()
        network = Chaos(scene.port, f"{run.seed}-network", silence=silence)
        try:
            # Joining is part of it: a folder that is copied over such a network.
            scene.link = scene.link.replace(f":{port_in(scene.link)}", f":{network.port}")
            for index in (1, 2):
                scene.join(index)
            for hub in scene.hubs[1:]:
                hub.event("synced", 120)
            stop = threading.Event()
            with ThreadPoolExecutor(6) as pool:
                jobs = [pool.submit(edit, scene, index, who, stop) for index in range(3) for who in range(2)]
                try:
                    end, dice = time.monotonic() + run.seconds, random.Random(f"{run.seed}-cuts")
                    while (left := end - time.monotonic()) > 0 and not any(job.done() for job in jobs):
                        time.sleep(min(left, dice.uniform(0.3, 2)))
                        network.cut_all()
                finally:
                    stop.set()
                saves = sum(job.result() for job in jobs)
            network.calm()
            network.cut_all()
            begun = time.monotonic()
            scene.converge(seconds=2 * NOTICED + 60, quiet=0.5)
            for folder in scene.folders:
                for name in FILES:
                    must_be_whole(folder / name)
            scene.no_strangers(FILES)
            if not network.cuts:
                raise Failure("no connection was cut: nothing was tested")
            seen = ", ".join(f"{times} {way}" for way, times in network.seen.items())
            return (f"{saves} saves over connections that were {seen}: all there once, together "
                    f"{time.monotonic() - begun:.1f} s later")
        finally:
            network.close()


def edit(scene, index, who, stop):
    """Adds lines to random files of one folder until told to stop; two people, who use different files."""
    dice, saves = random.Random(f"{scene.run.seed}-network-{index}-{who}"), 0
    while not stop.is_set():
        path = scene.folders[index] / dice.choice(FILES[:3] if who else FILES[3:])
        marker = scene.ledger.mark("net")
        text = with_line(must_be_whole(path), dice.randint(1, 25), marker)
        by_rename(path, text)
        scene.ledger.wrote(path.name, marker)
        saves += 1
        stop.wait(dice.uniform(0.01, 0.15))
    return saves
