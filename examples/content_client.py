#!/usr/bin/env python3
"""Ten lines that take part: python3 examples/content_client.py ADDRESS (pip install websockets)

ADDRESS is the `content` address that `syncline serve` prints. Any WebSocket library will do.
"""
import json
import sys
from websockets.sync.client import connect

with connect(sys.argv[1], max_size=None) as socket:
    update = json.loads(socket.recv())
    print("the content is now:", update)
    content = update["content"] + "a line from Python\n"
    socket.send(json.dumps({"type": "update_request", "content": content}))
    print("after the request:", json.loads(socket.recv()))
