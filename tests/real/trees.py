"""Comparing folders, waiting until something holds, and looking for what must not be left behind."""

import os
import time

from .hubs import Failure

HIDDEN = {".syncline", ".git"}
# Names of editors' own backup and swap files, which are not synchronised.
EDITORS_OWN = ("~", ".swp", ".swx", ".swo")


def listing(folder):
    """Path below the folder -> (kind, size) of every file and link that Syncline carries."""
    found = {}
    open_folders = [""]
    while open_folders:
        below = open_folders.pop()
        try:
            entries = list(os.scandir(os.path.join(folder, below)))
        except FileNotFoundError:
            continue
        for entry in entries:
            path = os.path.join(below, entry.name)
            if entry.name in HIDDEN or entry.name.endswith(EDITORS_OWN):
                continue
            try:
                if entry.is_symlink():
                    found[path] = ("link", os.readlink(entry.path))
                elif entry.is_dir():
                    open_folders.append(path)
                else:
                    found[path] = ("file", entry.stat().st_size)
            except FileNotFoundError:
                continue
    return found


def difference(folders):
    """In words, the first way in which the folders differ; None when they are byte-identical."""
    first, *others = folders
    ours = listing(first)
    for other in others:
        theirs = listing(other)
        for path in sorted(ours.keys() | theirs.keys()):
            if ours.get(path) != theirs.get(path):
                return f"{path} is {ours.get(path)} in {first.name} and {theirs.get(path)} in {other.name}"
    for path, (kind, _) in ours.items():
        if kind != "file":
            continue
        contents = [content(folder / path) for folder in folders]
        if any(each != contents[0] for each in contents):
            return f"{path} has different bytes in {', '.join(folder.name for folder in folders)}"
    return None


def content(path):
    """The file's bytes, or None when it is not there."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def holds(problem, seconds, hubs=(), quiet=0.0, pause=0.04):
    """Polls `problem` until it returns None, and goes on returning None for `quiet` seconds."""
    deadline = time.monotonic() + seconds
    since = None
    while True:
        for hub in hubs:
            hub.must_run()
        wrong = problem()
        now = time.monotonic()
        if wrong is None:
            since = now if since is None else since
            if now - since >= quiet:
                return
        else:
            if since is not None and quiet:
                # Once true it must stay true: a later change is a lost or doubled edit on its way.
                raise Failure(f"it was right for {now - since:.1f} s and then: {wrong}")
            since = None
            if now > deadline:
                raise Failure(f"after {seconds:.0f} s: {wrong}")
        time.sleep(pause)


def temporaries(folders):
    """The temporary files that hubs left beside users' files, or wrote ahead and never took."""
    left = []
    for folder in folders:
        for below, names, files in os.walk(folder):
            names[:] = [name for name in names if name not in HIDDEN]
            left += [os.path.join(below, name) for name in files if name.startswith(".syncline-tmp-")]
        ahead = os.path.join(folder, ".syncline", "ahead")
        left += [os.path.join(ahead, name) for name in os.listdir(ahead)] if os.path.isdir(ahead) else []
    return f"temporary files were left: {left[:5]}" if left else None
