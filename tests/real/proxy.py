"""A network that can be cut: a TCP relay between joined hubs and the server."""

import socket
import threading


class Proxy:
    """Relays to a local port until it is cut; while cut, connections end as soon as they are made."""

    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.connections = set()
        self.is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                if self.is_cut:
                    raise OSError("cut")
                far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            with self.lock:
                self.connections |= {near, far}
                # A cut between the test above and here must end this connection too.
                cut = self.is_cut
            if cut:
                self.cut()
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        with self.lock:
            self.connections -= {source, sink}
        _end(source)
        _end(sink)

    def cut(self):
        with self.lock:
            self.is_cut = True
            ended, self.connections = self.connections, set()
        for connection in ended:
            _end(connection)

    def heal(self):
        self.is_cut = False

    def close(self):
        self.listener.close()
        self.cut()


def _end(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()
