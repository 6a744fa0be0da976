"""Content clients: ours, which means to lose nothing, and the example, which is as short as can be."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from .editors import with_line
from .hubs import Failure
from .scene import Scene
from .websocket import WebSocket

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent.parent / "examples" / "content_client.py"


def upload(scene, address, name, numbers):
    """A content client of one file, which uploads a text for each number, and again what was not answered."""
    dice, line, update = random.Random(f"{scene.run.seed}-content"), None, None
    for number in numbers:
        marker, request, answered = scene.ledger.mark("content"), None, False
        deadline = time.monotonic() + 60
        while not answered:
            try:
                if line is None:
                    line = WebSocket(f"{address}/{name}")
                    update = json.loads(line.receive())
                # A repeat must be the same in every letter, so that it has the same answer.
                request = request or json.dumps({
                    "type": "update_request", "base": update["version"], "request_id": str(number),
                    "content": with_line(update["content"], dice.randint(1, 20), marker)})
                line.send(request)
                while not answered:
                    message = json.loads(line.receive())
                    if message["type"] == "error":
                        raise Failure(f"the content client got {message}")
                    answered = message["type"] == "update_result"
                    update = update if answered else message
            except OSError:
                line = None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        scene.ledger.wrote(name, marker)
        time.sleep(dice.uniform(0.02, 0.1))


def example(run):
    """The ten-line example, by the address that `serve` prints: it shows the content, and the file changes."""
    with Scene(run, "example", joined=1) as scene:
        file = scene.folders[0] / "notes.txt"
        file.write_text("begun\n")
        scene.start()
        address = scene.hubs[0].event("join", 60)["content"]
        # Any WebSocket library will do: this one is the standard library's sockets under the usual name.
        environment = {**os.environ, "PYTHONPATH": str(HERE / "libraries")}
        ran = subprocess.run([sys.executable, str(EXAMPLE), address], capture_output=True, text=True, timeout=60,
                             check=False, env=environment)
        if ran.returncode != 0 or "begun" not in ran.stdout or "content_update" not in ran.stdout:
            raise Failure(f"the example ended with {ran.returncode}: {ran.stdout!r} {ran.stderr[-500:]!r}")
        scene.expect("notes.txt", "begun\na line from Python\n")
        return "the example received the content, sent a line, and it is in both files"
