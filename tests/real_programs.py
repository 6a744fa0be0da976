#!/usr/bin/env python3
"""Drives the real `syncline` with real programs and checks that nothing anyone wrote is lost.

    python3 tests/real_programs.py --bin target/debug/syncline [SCENARIO …] [--tries N] [--seconds S]

Every written line carries a marker, so that lost and doubled lines are counted, never guessed. When a
scenario fails, its folders and the hubs' logs are kept and their place is printed. Needs nothing but
Python 3.11; a missing editor is named on a line that begins with `SKIPPED:`.
"""

import argparse
import faulthandler
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.dont_write_bytecode = True

from real.bad_network import badnetwork  # noqa: E402
from real.content_client import example  # noqa: E402
from real.diffsync import diffsync  # noqa: E402
from real.disk_faults import diskfaults, fulldisk  # noqa: E402
from real.editors import missing_tools  # noqa: E402
from real.hubs import Failure  # noqa: E402
from real.kill9 import kill9, kill9programs  # noqa: E402
from real.local import local  # noqa: E402
from real.offline import offline  # noqa: E402
from real.programs import programs  # noqa: E402
from real.race import race  # noqa: E402
from real.sizes import big, many  # noqa: E402
from real.stale import stale  # noqa: E402
from real.windows import missing_programs, windows  # noqa: E402

SCENARIOS = {scenario.__name__: scenario for scenario in (programs, stale, race, kill9, kill9programs, diskfaults, fulldisk, offline, badnetwork, example, diffsync, local, windows, many, big)}
# The packages of the tools that carry another name.
PACKAGES = {"sh": "dash"}


class Run:
    """What was asked for on the command line, as the scenarios need it."""

    def __init__(self, options):
        self.binary = str(Path(options.bin).resolve())
        self.tries, self.seconds, self.seed, self.keep = options.tries, options.seconds, options.seed, options.keep
        self.work = options.work

    def tries_or(self, usual):
        return self.tries or usual


def main():
    options = read_options()
    if options.install:
        install(missing_tools() + (missing_programs() if "windows" in options.scenario or not options.scenario else []))
    if not os.access(options.bin, os.X_OK):
        sys.exit(f"there is no program {options.bin}; build it with: cargo build -p syncline-cli")
    # A scenario that hangs must say where.
    faulthandler.enable()
    run = Run(options)
    print(f"seed {run.seed}", flush=True)
    failed = []
    for name in options.scenario or SCENARIOS:
        begun = time.monotonic()
        try:
            line = f"ok      {name:<9} {SCENARIOS[name](run)}"
        except Failure as failure:
            failed.append(name)
            line = f"FAILED  {name:<9} {failure}"
        except (OSError, subprocess.SubprocessError, ValueError):
            failed.append(name)
            line = f"FAILED  {name:<9} {traceback.format_exc()}"
        print(f"{line}  [{time.monotonic() - begun:.1f} s]", flush=True)
    if failed:
        sys.exit(f"{len(failed)} of {len(options.scenario or SCENARIOS)} scenarios failed: {', '.join(failed)} (seed {run.seed})")


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="*", help=f"any of {', '.join(SCENARIOS)}; all of them when none is named")
    parser.add_argument("--bin", required=True, help="the syncline program")
    parser.add_argument("--tries", type=int, help="how often, instead of the scenario's own number; for `many`, how many files; "
                        "for `diskfaults`, how many kinds of faults")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long people edit in `programs` and `badnetwork` (default 30)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of all random choices")
    parser.add_argument("--work", default=tempfile.gettempdir(), help="where the folders are made")
    parser.add_argument("--keep", action="store_true", help="keep the folders of scenarios that succeed too")
    parser.add_argument("--install", action="store_true", help="install missing editors with apt-get first")
    options = parser.parse_args()
    for name in options.scenario:
        if name not in SCENARIOS:
            parser.error(f"there is no scenario `{name}`; there are {', '.join(SCENARIOS)}")
    return options


def install(tools):
    if not tools:
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        print(f"SKIPPED: cannot install {', '.join(tools)} here: this takes apt-get and root")
        return
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    names = sorted({PACKAGES.get(tool, tool) for tool in tools})
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *names]):
        if subprocess.run(["apt-get", *arguments], env=environment, stdout=subprocess.DEVNULL).returncode != 0:
            print(f"SKIPPED: apt-get could not install {', '.join(names)}")
            return


if __name__ == "__main__":
    main()
