"""Scenario `local`: users of one machine, each with a copy of one document, and no server."""

import json
import random
import signal
import subprocess
import time

from .hubs import Failure
from .local_edges import (bridged, leaving, left_by_the_killed, registry_cut_short, served_beside, sixth, two_accounts,
                          whole_folder, without_queues, without_the_mount)
from .neighbours import Neighbours
from .trees import content, holds


def local(run):
    """Users of one machine: everybody's copy ends the same, and no edit is lost or doubled."""
    runs = run.tries_or(40)
    report = []
    for count in (3, 4, 5, 16):
        for way in ("mq", "shm"):
            edits, worst = random_edits(run, count, runs, ["--transport", way])
            report.append(f"{count} users by {way}: {edits} edits in {runs} runs, the slowest in step after {worst:.1f} s")
    for check in (alone, late, killed, stopped, sixth, long_lines, save_beside_write, strict, last_writer, bridged,
                  whole_folder, without_queues, without_the_mount, registry_cut_short, left_by_the_killed, leaving,
                  served_beside, two_accounts):
        report.append(check(run))
    return "; ".join(report)


def random_edits(run, count, rounds, arguments):
    """Rounds of random edits at random places by everybody; all copies are equal after each."""
    with Neighbours(run, count, arguments=arguments) as group:
        group.start_all()
        group.give("\n".join(f"filler {number}" for number in range(30)) + "\n")
        dice = random.Random(f"{run.seed}-{count}-{arguments}")
        edits, worst = 0, 0
        for _ in range(rounds):
            for index in dice.sample(range(count), count):
                for _ in range(dice.randrange(1, 3)):
                    group.edit(dice, index)
                    edits += 1
                    time.sleep(dice.choice((0, 0, 0.002, 0.01)))
            begun = time.monotonic()
            group.equal(60)
            worst = max(worst, time.monotonic() - begun)
        return edits, worst


def alone(run):
    """One user who types in the middle of a line has what they typed, and one edit alone is sent, within a second."""
    with Neighbours(run, 2) as group:
        group.start_all()
        group.give("".join(f"filler {number} of some words in a line\n" for number in range(20)))
        slowest = 0
        for number in range(20):
            lines = content(group.path(0)).decode().split("\n")
            middle = len(lines[number]) // 2
            lines[number] = f"{lines[number][:middle]}typed {number}{lines[number][middle:]}"
            text = "\n".join(lines)
            begun = time.monotonic()
            group.path(0).write_text(text)

            def problem():
                return None if content(group.path(1)) == text.encode() else f"edit {number} is not with the other"

            holds(problem, 1, group.users)
            slowest = max(slowest, time.monotonic() - begun)
            if content(group.path(0)) != text.encode():
                raise Failure(f"edit {number} of a user alone was changed: {content(group.path(0))!r}")
    return f"20 edits alone, each with the other after at most {1000 * slowest:.0f} ms"


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


def long_lines(run):
    """A line of 100 KB, changed by two people at once."""
    for way in ("mq", "shm"):
        long_line(run, way)
    return "lines of 100 KB"


def long_line(run, way):
    """The same by one way."""
    with Neighbours(run, 2, arguments=["--transport", way]) as group:
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
    listed = [json.loads(line) for line in done.stdout.splitlines()]
    if any(each.pop("user") != group.users[index].name for each in listed):
        raise Failure(f"conflicts of another user than {group.users[index].name}: {done.stdout}")
    return listed
