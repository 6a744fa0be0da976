"""Scenario `programs`: three folders, everybody's programs at once, and git, and nothing lost."""

import random
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from .editors import PROGRAMS, command, missing_tools, with_line
from .hubs import Failure
from .scene import Scene

SHARED = [f"shared-{number}.txt" for number in range(5)]
GIT = ["git", "-c", "user.name=Tester", "-c", "user.email=tester@example.org", "-c", "gc.auto=0"]
GIT_ALONE = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
REPOSITORY_FILES = 300


def programs(run):
    """vim, ed, nano, sed, cp, rsync, >, >>, a slow writer and git in three folders."""
    missing = missing_tools()
    for tool in missing:
        print(f"SKIPPED: {tool} is not installed, so the real programs were driven without it")
    with Scene(run, "programs") as scene:
        served = scene.folders[0]
        for name in SHARED:
            (served / name).write_text("".join(f"{name} line {number}\n" for number in range(40)))
        if "git" not in missing:
            make_repository(served / "repo")
        scene.start()
        scene.converge()

        stop = time.monotonic() + run.seconds
        edits, lock = {}, threading.Lock()

        def count(name):
            with lock:
                edits[name] = edits.get(name, 0) + 1

        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(person, scene, index, stop, count, missing) for index in range(len(scene.folders))]
            if "git" not in missing:
                jobs.append(pool.submit(switch_branches, scene, stop, count))
            for job in jobs:
                job.result()
        scene.converge(seconds=120, quiet=2.0)
        if "git" not in missing:
            check_repository(scene)
        used = " ".join(f"{name}:{times}" for name, times in sorted(edits.items()))
        return f"{sum(edits.values())} saves ({used}), {scene.ledger.total()} lines, none lost or doubled, " \
               f"{len(scene.folders)} folders identical"


def person(scene, index, stop, count, missing):
    """One person in one folder, using one program after the other without ever waiting for the others."""
    folder, ledger = scene.folders[index], scene.ledger
    dice = random.Random(f"{scene.run.seed}-person-{index}")
    usable = [program for program in PROGRAMS if program[1] not in missing]
    turn = index * 3
    while time.monotonic() < stop:
        name, _, edit = usable[turn % len(usable)]
        path = folder / SHARED[dice.randrange(len(SHARED))]
        marker = ledger.mark(name)
        edit(path, marker, dice)
        ledger.wrote(path.name, marker)
        count(name)
        if turn % 5 == 0:
            replace_own_files(folder, ledger, dice, count, missing)
        if turn % 7 == 0:
            edit_repository(folder, ledger, dice, count, missing)
        turn += 1


def replace_own_files(folder, ledger, dice, count, missing):
    """Files that only this person writes, by programs that never read what was there."""
    text = "".join(f"{ledger.mark('blind')}\n" for _ in range(dice.randint(1, 30)))
    name = f"redirected-by-{folder.name}.txt"
    command(["sh", "-c", 'printf "%s" "$1" > "$2"', "sh", text, folder / name])
    ledger.replaced(name, text.encode())
    count("redirect")

    outside = folder.parent / f"source-{folder.name}"
    shutil.rmtree(outside, ignore_errors=True)
    outside.mkdir()
    for number in range(8):
        text = "".join(f"{ledger.mark('copy')}\n" for _ in range(dice.randint(1, 30)))
        (outside / f"{number}.txt").write_text(text)
        ledger.replaced(f"copies-of-{folder.name}/{number}.txt", text.encode())
    target = folder / f"copies-of-{folder.name}"
    target.mkdir(exist_ok=True)
    if "rsync" not in missing and dice.random() < 0.5:
        command(["rsync", "-a", "--delete", "--ignore-times", f"{outside}/", f"{target}/"])
        count("rsyncall")
    else:
        command(["cp", "-r", f"{outside}/.", target])
        count("cpall")


def edit_repository(folder, ledger, dice, count, missing):
    """A line in a file of the repository that both branches have alike, so that git must keep it."""
    if "git" in missing:
        return
    path = folder / "repo" / f"stable-{dice.randrange(10):03}.txt"
    marker = ledger.mark("repo")
    # Saved by rename, so that no checkout can ever see half a file.
    command(["sed", "-i", f"3a {marker}", path])
    ledger.wrote(f"repo/{path.name}", marker)
    count("repo")


def make_repository(repository):
    """300 files; the other branch changes half of them, deletes 40 and adds 40."""
    repository.mkdir()

    def git(*arguments):
        command([*GIT, *arguments], cwd=repository, extra=GIT_ALONE)

    git("init", "-q", "-b", "main")
    for number in range(REPOSITORY_FILES):
        kind = "stable" if number < 10 else "file"
        folder = repository / f"part-{number % 7}" if kind == "file" else repository
        folder.mkdir(exist_ok=True)
        lines = "".join(f"{kind} {number} line {line}\n" for line in range(30))
        (folder / f"{kind}-{number:03}.txt").write_text(lines)
    git("add", "-A")
    git("commit", "-q", "-m", "Main")
    git("checkout", "-q", "-b", "feature")
    for number in range(10, REPOSITORY_FILES):
        path = repository / f"part-{number % 7}" / f"file-{number:03}.txt"
        if number < 50:
            path.unlink()
        elif number % 2 == 0:
            path.write_text(with_line(path.read_text(), number % 20, f"feature line of {number}"))
    for number in range(40):
        (repository / f"part-{number % 7}" / f"added-{number:03}.txt").write_text(f"added {number}\n" * 10)
    git("add", "-A")
    git("commit", "-q", "-m", "Feature")
    git("checkout", "-q", "main")


def switch_branches(scene, stop, count):
    repository, branch = scene.folders[0] / "repo", "main"
    while time.monotonic() < stop:
        branch = "feature" if branch == "main" else "main"
        command([*GIT, "checkout", "-q", branch], cwd=repository, extra=GIT_ALONE)
        count("checkout")
        # A person looks at a branch for a moment; the length is not what anything depends on.
        time.sleep(1.0)


def check_repository(scene):
    """Git itself says that the tree is its branch's, but for the lines people wrote."""
    for folder in scene.folders[1:]:
        if (folder / "repo" / ".git").exists():
            raise Failure(f"{folder.name}: the repository's .git was synchronised")
    status = command([*GIT, "status", "--porcelain"], cwd=scene.folders[0] / "repo", extra=GIT_ALONE)
    wrong = [line for line in status.splitlines() if not line.startswith(" M stable-")]
    if wrong:
        raise Failure(f"git finds the tree changed after its checkouts: {wrong[:5]}")
