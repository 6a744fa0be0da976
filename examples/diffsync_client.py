#!/usr/bin/env python3
"""A diff-sync client in the standard library: python3 examples/diffsync_client.py HOST:PORT FILE TOKEN_FILE

Appends each line of its input to FILE of the shared folder, over any break of the connection, and prints the text
when all is saved. TOKEN_FILE is FOLDER/.syncline/token. What it does is explained in docs/protocols/diffsync.md.
"""
import difflib, json, os, random, socket, sys, time

def checksum(text):
    data = text.encode()
    return f"{int.from_bytes(data, 'big') % (2**128 - 159):032x}:{len(data)}"

def difference(old, new):
    """What turns one text into another: a list of (start, end, insert) against the old one."""
    head = len(os.path.commonprefix([old, new]))
    tail = len(os.path.commonprefix([old[head:][::-1], new[head:][::-1]]))
    a, b = old[head:len(old) - tail], new[head:len(new) - tail]
    steps = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    return [(head + i, head + j, b[k:m]) for tag, i, j, k, m in steps if tag != "equal"]

def to_delta(edits, length):
    delta, at = [], 0
    for start, end, insert in edits:
        delta += [f"={start - at}"] * (start > at) + [f"-{end - start}"] * (end > start) + ["+" + insert] * bool(insert)
        at = end
    return delta + [f"={length - at}"] * (length > at)
def from_delta(delta):
    edits, at = [], 0
    for step in delta:
        length, insert = (0, step[1:]) if step[0] == "+" else (int(step[1:]), "")
        edits += [(at, at + length, insert)] * (step[0] != "=")
        at += length
    return edits

def apply(text, edits):
    for start, end, insert in reversed(edits):
        text = text[:start] + insert + text[end:]
    return text

def rebase(mine, theirs):
    """What `mine` comes to after `theirs`, both made against one text: places are mapped, never searched."""
    def place(at):
        shift = 0
        for start, end, insert in theirs:
            if start < at < end:
                return start + shift + len(insert)
            shift += (len(insert) - (end - start)) * (end <= at)
        return at + shift
    gone, out = {at for start, end, _ in theirs for at in range(start, end)}, []
    for start, end, insert in mine:
        out += [(place(at), place(at) + 1, "") for at in range(start, end) if at not in gone]
        out += [(place(end), place(end), insert)] * bool(insert)
    return out

class Client:
    def __init__(self, address, doc, token):
        self.address, self.doc, self.token = address, doc, token
        self.session, self.patience = os.urandom(16).hex(), 60  # the longest pause before it dials again, in seconds
        self.text, self.shadow, self.n, self.m, self.seq, self.misfits = "", "", 0, 0, 0, 0
        self.unsaved, self.socket, self.flight, self.known = [], None, None, False
        self.back = None  # what is told to a hub that has forgotten the session, until it answers
    def say(self, **message):
        self.socket.sendall(json.dumps(message).encode() + b"\n")
    def read(self):
        while b"\n" not in self.buffer:
            self.buffer += self.socket.recv(65536) or b"closed\n"  # which is no JSON, and ends the connection
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)
    def connect(self):
        self.socket, self.buffer, self.flight = socket.create_connection(self.address, timeout=10), b"", None
        self.say(type="Connect", proto=1, session=self.session, doc=self.doc, auth=self.token, name="example")
        ok = self.read()
        if ok["type"] != "ConnectOk":
            raise (ConnectionError if ok.get("code") in (None, "closing", "timeout") else SystemExit)(str(ok))
        if ok["resumed"]:
            self.back = self.back if self.back and ok["last_seq"] < self.back["seq"] else None
        else:
            before = self.back["shadow"] if self.back else self.unsaved[0][2] if self.unsaved else self.shadow
            self.n, self.m, self.unsaved, self.back = 0, 0, [], None
            if self.known and before != self.text:
                self.seq, self.shadow = self.seq + 1, self.text
                self.back = dict(seq=self.seq, shadow=before, sum=checksum(before), text=self.text)
            else:
                self.text = self.shadow = ok["text"]
        self.seq, self.known = max(self.seq, ok["last_seq"]), True
    def sync(self):
        self.flight = ((self.back or {}).get("seq", self.seq + 1), time.time() + 2)
        if self.back:
            return self.say(type="ClientReturn", doc=self.doc, **self.back)
        if self.text != self.shadow:
            edits = difference(self.shadow, self.text)
            self.unsaved.append((self.n, to_delta(edits, len(self.shadow)), self.shadow))
            self.shadow, self.n = self.text, self.n + 1
        self.seq = self.flight[0]
        message = {"sum": checksum(self.shadow)} if self.misfits < 3 else {}  # without a sum: a fresh start
        self.say(type="ClientSync", doc=self.doc, seq=self.seq, m_ack=self.m,
                 edits=[[n, delta] for n, delta, _ in self.unsaved], **message)
    def take(self, message):
        """Takes a message; says whether to send at once."""
        self.say(type="Pong") if message["type"] == "Ping" else None
        sys.exit(message["message"]) if message.get("code") in ("forbidden", "not_text", "revoked", "replaced") else None
        if message["type"] not in ("ServerSync", "Resync") or not self.flight or message["seq"] != self.flight[0]:
            return message["type"] == "Poke" and self.flight is None
        self.flight = self.back = None
        self.unsaved = [edit for edit in self.unsaved if edit[0] >= message["n_ack"]]
        shadow, text, m = self.shadow, self.text, self.m
        if message["type"] == "Resync":
            before, shadow = self.unsaved[0][2] if self.unsaved else shadow, message["text"]
            text = apply(shadow, rebase(difference(before, text), difference(before, shadow)))
            self.unsaved, self.n, m = [], message["n"], message["m"]
        elif message["n_ack"] != self.n:
            return True
        for base_m, delta in message.get("edits", []):
            if base_m == m:
                theirs, typed, m = from_delta(delta), difference(shadow, text), m + 1
                shadow = apply(shadow, theirs)
                text = apply(shadow, rebase(typed, theirs))
        if checksum(shadow) != message["sum"]:
            self.misfits += 1
            return True
        self.shadow, self.text, self.m, self.misfits = shadow, text, m, 0
        return self.text != self.shadow
    def run(self, seconds, done=lambda: True):
        """Keeps the text in step until everything is saved and `done`, for so many seconds at most; says if it is saved."""
        end, pause, asked = time.time() + seconds, 0.2, False
        while time.time() < end and not (asked and not self.flight and self.text == self.shadow and done()):
            try:
                if self.socket is None:
                    self.connect()
                if not self.flight or time.time() > self.flight[1]:
                    self.sync()
                self.socket.settimeout(0.5)
                while self.take(self.read()):
                    self.sync()
                asked, pause = True, 0.2
            except TimeoutError:
                pass
            except (OSError, ValueError):
                self.socket = self.flight = None
                time.sleep(pause * random.uniform(0.5, 1))
                pause = min(2 * pause, self.patience)
        return asked and not self.unsaved and self.text == self.shadow
if __name__ == "__main__":
    client = Client(sys.argv[1].rsplit(":", 1), sys.argv[2], open(sys.argv[3]).read().strip())
    saved = client.run(10) or sys.exit("no hub answers")
    for line in sys.stdin:
        client.text += "\n" * (client.text[-1:] not in ("", "\n")) + line.rstrip("\n") + "\n"
        saved = client.run(60)
    sys.exit(print(client.text, end="") if saved else "not everything is saved; the text was:\n" + client.text)
