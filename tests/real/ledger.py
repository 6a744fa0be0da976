"""The ledger: every line a test writes carries a marker, so that lost and doubled lines are counted."""

import random
import re
import string
import threading
from collections import Counter, defaultdict

from .trees import content

MARKER = re.compile(r"\bmk[a-z]{1,12}[0-9]{6}[a-z]{6}\b")


class Ledger:
    """What was written where, by whom. Threads share one."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.lock = threading.Lock()
        self.count = 0
        self.written = defaultdict(set)
        self.exact = {}

    def mark(self, who):
        """A new marker. It is one word, so that no merge of two markers can look like a third."""
        with self.lock:
            self.count += 1
            tail = "".join(self.dice.choices(string.ascii_lowercase, k=6))
            return f"mk{who}{self.count:06d}{tail}"

    def wrote(self, path, *markers):
        """These markers are in the file: the program that saved them has said so."""
        with self.lock:
            self.written[path].update(markers)

    def replaced(self, path, data):
        """The file was replaced on purpose, by exactly these bytes."""
        with self.lock:
            self.exact[path] = data

    def total(self):
        with self.lock:
            return sum(len(markers) for markers in self.written.values()) + len(self.exact)

    def problem_in(self, data):
        """As `problem`, of one text that holds everything that was ever written."""
        with self.lock:
            markers = set().union(*self.written.values())
        # Two words that were put in at one place may share a blank, or have none between them.
        counts = Counter(re.findall(r"mk[a-z]{1,12}?[0-9]{6}[a-z]{6}", data.decode(errors="replace")))
        lost = sorted(markers - counts.keys())
        doubled = sorted(marker for marker, times in counts.items() if times > 1)
        if lost or doubled:
            return f"{len(lost)} of {len(markers)} marks lost {lost[:3]}, {len(doubled)} doubled {doubled[:3]}"
        return None

    def problem(self, folders):
        """In words, what is lost or doubled; None when nothing is."""
        with self.lock:
            written = {path: set(markers) for path, markers in self.written.items()}
            exact = dict(self.exact)
        for folder in folders:
            for path, markers in written.items():
                data = content(folder / path)
                if data is None:
                    return f"{folder.name}/{path} is missing"
                counts = Counter(MARKER.findall(data.decode(errors="replace")))
                lost = sorted(markers - counts.keys())
                doubled = sorted(marker for marker, times in counts.items() if times > 1)
                if lost or doubled:
                    return (f"{folder.name}/{path}: {len(lost)} of {len(markers)} lines lost {lost[:3]}, "
                            f"{len(doubled)} doubled {doubled[:3]}")
            for path, data in exact.items():
                if content(folder / path) != data:
                    return f"{folder.name}/{path} is not what its last writer put there"
        return None
