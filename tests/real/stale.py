"""Scenario `stale`: programs that save what they read long ago, and programs that mean to replace."""

import os
import random
import shutil
import subprocess
import threading
import time

from .editors import by_rename, command, in_place, write_slowly
from .hubs import Failure
from .programs import GIT, GIT_ALONE
from .scene import Scene
from .trees import holds
from .watch import Arrivals

LINES = 24
IN_A_ROW = 5
WHILE_AWAY = 100


class Page:
    """A file's lines as they must be: every change is to one line, so the outcome is known exactly."""

    def __init__(self, scene, name):
        self.scene, self.name = scene, name
        self.lines = [f"line {number:02} {scene.ledger.mark('old')}" for number in range(LINES)]
        in_place(scene.folders[0] / name, self.text())

    def text(self):
        return "".join(line + "\n" for line in self.lines)

    def changed(self, number):
        """The same page with one more line changed; this page stays as it is."""
        page = object.__new__(Page)
        page.scene, page.name, page.lines = self.scene, self.name, list(self.lines)
        page.change(number)
        return page

    def change(self, number):
        self.lines[number] = f"line {number:02} {self.scene.ledger.mark('new')}"

    def take(self, other, number):
        self.lines[number] = other.lines[number]

    def expect(self, **options):
        self.scene.expect(self.name, self.text(), **options)

    def path(self, index):
        return self.scene.folders[index] / self.name


def stale(run):
    """Stale saves merge, unchanged ones change nothing, deliberate replacements replace."""
    with Scene(run, "stale") as scene:
        scene.start()
        done = {}
        for looked_at in (False, True):
            label = "looked at" if looked_at else "not looked at"
            for number in range(run.tries_or(30)):
                one_stale_save(scene, f"page-{number}-{looked_at:d}.txt", number, looked_at)
                done[label] = done.get(label, 0) + 1
        for foreign in (False, True):
            never_reloads(scene, f"never-reloaded-{foreign:d}.txt", foreign)
        for looked_at in (False, True):
            old_buffer(scene, f"old-buffer-{looked_at:d}.txt", looked_at)
        unchanged_save(scene, "unchanged.txt")
        if shutil.which("vim"):
            unchanged_in_vim(scene, "unchanged-in-vim.txt")
        else:
            print("SKIPPED: vim is not installed, so no unchanged :wq was done by it")
        replacements(scene)
        long_append(scene, "appended.log")
        long_rewrite(scene, "rewritten.txt")
        scene.converge(quiet=2.0)
        counts = ", ".join(f"{times} of {times} {label}" for label, times in done.items())
        return f"stale saves merged: {counts}; 2 x {IN_A_ROW} in a row; 2 after {WHILE_AWAY} changes; unchanged, replaced and held files right"


def started_page(scene, name):
    page = Page(scene, name)
    page.expect()
    return page


def remote_change(page, style=by_rename):
    """Somebody changes a line in folder `b`; returns when it is on the disk of folder `a`, unread there."""
    with Arrivals(page.scene.folders[0]) as arrivals:
        style(page.path(1), page.text())
        arrivals.wait(page.name)


def one_stale_save(scene, name, number, looked_at):
    page = started_page(scene, name)
    editor, outside = page.path(0), scene.base / "outside.txt"
    # The editor reads, and keeps what it read.
    outside.write_bytes(editor.read_bytes())
    theirs = page.changed(15)
    remote_change(theirs, (by_rename, in_place)[number % 2])
    if looked_at:
        command(["stat", editor])
        command(["ls", "-la", editor.parent])
    mine = page.changed(3)
    save = number % 4
    if save == 0:
        in_place(editor, mine.text())
    elif save == 1:
        by_rename(editor, mine.text())
    else:
        outside.write_text(mine.text())
        if save == 3 and shutil.which("rsync"):
            command(["rsync", "--ignore-times", outside, editor])
        else:
            command(["cp", outside, editor])
    page.take(theirs, 15)
    page.take(mine, 3)
    page.expect()


def old_buffer(scene, name, looked_at):
    """A buffer that was read before a hundred changes of others, each of which somebody reads or nobody."""
    page = started_page(scene, name)
    mine = page.changed(3)
    for number in range(WHILE_AWAY):
        page.change(4 + number % (LINES - 4))
        remote_change(page, (by_rename, in_place)[number % 2])
        if looked_at:
            page.path(0).read_bytes()
    by_rename(page.path(0), mine.text())
    page.take(mine, 3)
    page.expect()


def never_reloads(scene, name, foreign):
    """Five saves in a row by an editor that never reads again, each after somebody else's change."""
    page = started_page(scene, name)
    buffer = page.changed(0)
    page.take(buffer, 0)
    in_place(page.path(0), buffer.text())
    page.expect(folders=scene.folders[1:])
    for step in range(IN_A_ROW):
        theirs = page.changed(14 + step)
        remote_change(theirs)
        page.take(theirs, 14 + step)
        if foreign:
            command(["cat", page.path(0)])
        buffer.change(2 + step)
        page.take(buffer, 2 + step)
        (in_place, by_rename)[step % 2](page.path(0), buffer.text())
        # Folder `a` is not read meanwhile: that alone would be a foreign reader.
        page.expect(folders=scene.folders[1:])
    page.expect()


def unchanged_save(scene, name):
    """`:wq` with nothing changed over somebody's change is no edit; the same bytes again are meant."""
    page = started_page(scene, name)
    old = page.path(0).read_text()
    theirs = page.changed(15)
    remote_change(theirs)
    in_place(page.path(0), old)
    theirs.expect()
    in_place(page.path(0), old)
    page.expect()


def unchanged_in_vim(scene, name):
    """The same by vim itself, which has the file open while somebody else changes it."""
    page = started_page(scene, name)
    path = page.path(0)
    editor = subprocess.Popen(["vim", "-es", "-u", "NONE", str(path)], stdin=subprocess.PIPE, text=True)
    swap = path.with_name(f".{path.name}.swp")
    holds(lambda: None if swap.exists() else "vim has not opened the file", 20, [])
    theirs = page.changed(15)
    remote_change(theirs)
    editor.communicate("w!\nq!\n", timeout=60)
    theirs.expect()


def replacements(scene):
    """cp, rsync and git put something else there on purpose: it replaces, everywhere."""
    base, served = scene.base, scene.folders[0]
    tools = [["cp"]] + ([["rsync", "--ignore-times"]] if shutil.which("rsync") else [])
    if len(tools) == 1:
        print("SKIPPED: rsync is not installed, so it replaced no file")
    for tool in tools:
        page = started_page(scene, f"replaced-by-{tool[0]}.txt")
        remote_change(page.changed(15))
        other = "".join(f"{scene.ledger.mark('other')} {os.urandom(12).hex()}\n" for _ in range(LINES))
        (base / "other.txt").write_text(other)
        command([*tool, base / "other.txt", page.path(0)])
        scene.expect(page.name, other)
    if not shutil.which("git"):
        print("SKIPPED: git is not installed, so no checkout replaced a file")
        return
    repository = served / "repo"
    repository.mkdir()
    page = started_page(scene, "repo/kept.txt")
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "One"]):
        command([*GIT, *arguments], cwd=repository, extra=GIT_ALONE)
    theirs = page.changed(15)
    by_rename(theirs.path(1), theirs.text())
    theirs.expect()
    command([*GIT, "checkout", "--", "kept.txt"], cwd=repository, extra=GIT_ALONE)
    page.expect()


def long_append(scene, name, seconds=4.0):
    """A program holds the file open for seconds and appends, as logs are written, while others edit."""
    page = started_page(scene, name)
    appended = []

    def write():
        with open(page.path(0), "a") as file:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                line = scene.ledger.mark("log")
                file.write(line + "\n")
                file.flush()
                appended.append(line)
                time.sleep(0.2)

    edited_meanwhile(page, write, seconds)
    page.lines += appended
    page.expect(seconds=90)


def long_rewrite(scene, name, seconds=3.0):
    """A program truncates the file and takes seconds to write its version, while others edit."""
    page = started_page(scene, name)
    mine = page.changed(3)
    edited_meanwhile(page, lambda: write_slowly(page.path(0), mine.text(), seconds), seconds)
    page.take(mine, 3)
    page.expect(seconds=90)


def edited_meanwhile(page, write, seconds):
    """Runs `write` in folder `a` while somebody changes lines in folder `b`, each on top of what is there."""
    dice = random.Random(f"{page.scene.run.seed}-{page.name}")
    writer = threading.Thread(target=write)
    writer.start()
    made = 0
    for number in range(12, 18):
        time.sleep(dice.uniform(0.5, 1.0) * seconds / 8)
        found = page.path(1).read_text()
        old = page.lines[number]
        # When the line is not there just now, the change is not made and not expected.
        if found.count(old) == 1:
            page.change(number)
            by_rename(page.path(1), found.replace(old, page.lines[number]))
            made += 1
    writer.join()
    if made == 0:
        raise Failure(f"no line of {page.name} could be changed while it was written")
