"""Programs that save: each adds a marked line to a file in its own way."""

import os
import shutil
import subprocess
import time

from .hubs import Failure
from .screen import Screen


def in_place(path, text):
    """Truncates and writes, as many small programs do."""
    with open(path, "w", newline="") as file:
        file.write(text)


def by_rename(path, text):
    """Writes beside the file and renames over it, as GNOME's programs and most editors' safe modes do."""
    beside = path.parent / f".goutputstream-{os.urandom(3).hex().upper()}"
    with open(beside, "w", newline="") as file:
        file.write(text)
    shutil.copymode(path, beside)
    os.rename(beside, path)


def with_line(text, number, line):
    """The text with one more line behind line `number`."""
    lines = text.splitlines(keepends=True)
    return "".join(lines[:number] + [line + "\n"] + lines[number:])


def command(arguments, feed=None, timeout=60, cwd=None, extra=None):
    """Runs a program to its end; anything but success is a failure."""
    result = subprocess.run(
        [str(argument) for argument in arguments], input=feed, text=True, capture_output=True, timeout=timeout,
        cwd=cwd, env=dict(os.environ, LC_ALL="C.UTF-8", **(extra or {})))
    if result.returncode != 0:
        raise Failure(f"{' '.join(map(str, arguments))}: exit code {result.returncode}: {result.stdout}{result.stderr}")
    return result.stdout


def vim(path, marker, dice):
    """Vim in its default backup mode or one of the explicit ones, with time passing before it saves. When the
    file changed under it, vim asks, and with nobody to answer it does not write: a person does it again."""
    mode = dice.choice(["", "set backupcopy=auto\n", "set backupcopy=yes\n", "set backupcopy=no\n", "set backup\n"])
    for _ in range(200):
        add = f"{dice.randint(1, 9)}a\n{marker}\n.\n"
        script = f"{mode}{add}sleep {dice.randint(1, 50)}m\nw!\nset modified?\nq!\n"
        result = subprocess.run(["vim", "-es", "-u", "NONE", str(path)], input=script, text=True, capture_output=True,
                                timeout=60)
        if "nomodified" in result.stdout + result.stderr:
            return
    raise Failure(f"vim never got to save {path}: the file changed under it each time")


def ed(path, marker, dice):
    command(["ed", "-s", path], feed=f"{dice.randint(1, 9)}a\n{marker}\n.\nw\nq\n")


def sed_line(path, marker, dice):
    command(["sed", "-i", f"{dice.randint(1, 9)}a {marker}", path])


def sed_word(path, marker, dice):
    command(["sed", "-i", f"{dice.randint(1, 9)}s/$/ {marker}/", path])


def shell_append(path, marker, _dice):
    command(["sh", "-c", 'printf "%s\\n" "$1" >> "$2"', "sh", marker, path])


def copied_back(path, marker, dice):
    """Copies the file out, edits the copy, copies it back over the original."""
    outside = path.parent.parent / f"outside-{path.parent.name}-{path.name}"
    command(["cp", path, outside])
    outside.write_text(with_line(outside.read_text(), dice.randint(1, 9), marker))
    command(["cp", outside, path])


def synced_back(path, marker, dice):
    """The same with rsync, which saves by rename, or in place when told so."""
    outside = path.parent.parent / f"outside-{path.parent.name}-{path.name}"
    command(["rsync", path, outside])
    outside.write_text(with_line(outside.read_text(), dice.randint(1, 9), marker))
    command(["rsync", "--ignore-times", *dice.choice([[], ["--inplace"]]), outside, path])


def slow_python(path, marker, dice):
    """A program that truncates the file and then takes its time to write it."""
    text = with_line(path.read_text(), dice.randint(1, 9), marker)
    write_slowly(path, text, dice.uniform(0.2, 0.9))


def write_slowly(path, text, seconds, pieces=8):
    size = len(text) // pieces + 1
    with open(path, "w", newline="") as file:
        for start in range(0, len(text), size):
            file.write(text[start:start + size])
            file.flush()
            time.sleep(seconds / pieces)


def nano(path, marker, dice):
    """Nano on a terminal of its own, driven by keys."""
    with Screen(["nano", "--ignorercfiles", f"+{dice.randint(1, 9)}", str(path)]) as screen:
        screen.shows(b"Exit")
        screen.type(marker + "\r\x0f")
        screen.shows(b"Write")
        screen.type("\r")
        # Somebody else's change may have arrived while nano had the file open; it asks whether to save anyway.
        while screen.shows(b"Wrote", b"changed") != b"Wrote":
            screen.type("y")
        screen.type("\x18")
        screen.ends()


# Every program that edits a file others edit too: its name, the tool it needs, and how it saves.
PROGRAMS = [
    ("vim", "vim", vim), ("ed", "ed", ed), ("nano", "nano", nano), ("sed", "sed", sed_line), ("sedword", "sed", sed_word),
    ("append", "sh", shell_append), ("cp", "cp", copied_back), ("rsync", "rsync", synced_back), ("slow", "sh", slow_python),
]


def missing_tools():
    """The tools that the scenarios would use and that are not installed."""
    tools = {tool for _, tool, _ in PROGRAMS} | {"git"}
    return sorted(tool for tool in tools if shutil.which(tool) is None)
