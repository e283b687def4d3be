"""The bad network itself: what the tests of links trust meshproxy to do."""
import contextlib
import os
import socket
import tempfile
import threading
import time

from devmeshlib import nodes, procs, proxy
from harness import TOP, wait_until

BUILD = os.path.join(TOP, os.environ.get("MESH_BUILD", "build/gcc"))


class Line:
    """A proxy with one forward to a listener of our own."""

    def __init__(self, directory):
        taken = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.port = nodes.free_port(taken)
        self.sock = f"{directory}/proxy.sock"
        self.proc = proxy.start(f"{BUILD}/bin/meshproxy", directory, None)
        self.run(f"forward x {self.port} {self.listener.getsockname()[1]}")
        self.open = []

    def run(self, line):
        return proxy.command(self.sock, line)

    def pair(self):
        """(dialler's socket, listener's socket, connection)."""
        client = socket.create_connection(("127.0.0.1", self.port), 10)
        server = self.listener.accept()[0]
        for s in (client, server):
            s.settimeout(10)
        self.open += [client, server]
        port = client.getsockname()[1]
        conn, = (c for c in self.conns() if c.client_port == port)
        assert conn.server_port == server.getpeername()[1], conn
        return client, server, conn

    def conns(self):
        return [proxy.Conn(*map(int, line.split())) for line in self.run("conns x")]

    def close(self):
        for s in [*self.open, self.listener]:
            s.close()
        procs.stop([self.proc])


@contextlib.contextmanager
def line():
    with tempfile.TemporaryDirectory() as directory, contextlib.closing(Line(directory)) as x:
        yield x


def take(sock, size):
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, f"closed after {len(data)} of {size} bytes"
        data += piece
    return data


def silent(sock):
    """Nothing is there, and the connection is open."""
    sock.setblocking(False)
    try:
        return sock.recv(1) is None
    except BlockingIOError:
        return True
    finally:
        sock.settimeout(10)


def held(x, client, server):
    """What the dialler writes now does not arrive, though what is written on another connection does."""
    client.sendall(b"?")
    c2, s2, _ = x.pair()
    c2.sendall(b"!")
    assert take(s2, 1) == b"!"
    return silent(server)


def test_one_connection_cut():
    with line() as x:
        a, b, conn = x.pair()
        x.run(f"cut x {conn.id}")
        assert held(x, a, b)
        x.run(f"heal x {conn.id}")
        assert take(b, 1) == b"?"
        x.run(f"cut x up {conn.id}")
        b.sendall(b"back")
        assert take(a, 4) == b"back" and held(x, a, b)
        x.run("heal x")
        assert take(b, 1) == b"?"


def test_cut_link_takes_connections_nowhere():
    with line() as x:
        x.run("cut x")
        with socket.create_connection(("127.0.0.1", x.port), 10) as client:
            client.sendall(b"hello")
            wait_until("the connection to be accepted", x.conns)
            assert x.conns()[0].server_port == 0
            x.run("heal x")
            with x.listener.accept()[0] as server:
                server.settimeout(10)
                assert take(server, 5) == b"hello"


def test_half_close_and_reset():
    with line() as x:
        a, b, conn = x.pair()
        a.sendall(b"last words")
        wait_until("them to pass", lambda: x.conns()[0].up_bytes == 10)
        x.run(f"half x {conn.id}")
        assert take(b, 10) == b"last words" and b.recv(1) == b""
        b.sendall(b"still here")
        assert take(a, 10) == b"still here"
        a, b, conn = x.pair()
        x.run(f"half x down {conn.id}")
        assert a.recv(1) == b""
        a, b, conn = x.pair()
        other = x.pair()
        x.run(f"reset x {conn.id}")
        for s in (a, b):
            try:
                assert s.recv(1) is None, "closed without a reset"
            except ConnectionResetError:
                pass
        other[0].sendall(b"x")
        assert take(other[1], 1) == b"x"


def test_new_connections_refused():
    with line() as x:
        a, b, _ = x.pair()
        x.run("refuse x")
        try:
            with socket.create_connection(("127.0.0.1", x.port), 10) as client:
                assert client.recv(1) is None, "not reset"
        except ConnectionResetError:
            pass
        a.sendall(b"x")
        assert take(b, 1) == b"x"
        x.run("heal x")
        x.pair()


def test_stall():
    with line() as x:
        a, b, conn = x.pair()
        begin = time.monotonic()
        x.run(f"stall x {conn.id} 300")
        a.sendall(b"x")
        assert take(b, 1) == b"x" and time.monotonic() - begin >= 0.3


def test_narrow_line_is_shared():
    """50 kbit/s: a small message waits for its turn, not for all that others have written."""
    with line() as x:
        bulk, bulk_end, _ = x.pair()
        small, small_end, _ = x.pair()
        x.run("rate x 0.05")
        data = os.urandom(20_000)
        begin = time.monotonic()
        writer = threading.Thread(target=bulk.sendall, args=(data,), daemon=True)
        writer.start()
        wait_until("the line to be full", lambda: sum(c.up_bytes for c in x.conns()) > 1000)
        sent = time.monotonic()
        small.sendall(b"ping")
        assert take(small_end, 4) == b"ping"
        waited = time.monotonic() - sent
        assert waited < 2, f"{waited:.2f} s"
        assert take(bulk_end, len(data)) == data
        took = time.monotonic() - begin
        assert 2.8 < took < 8, f"{took:.1f} s for what takes 3.2"  # an idle line takes two packets at once
        writer.join(10)


def test_jitter_keeps_order():
    with line() as x:
        a, b, _ = x.pair()
        x.run("jitter x 20")
        data = os.urandom(300_000)
        for i in range(0, len(data), 10_000):
            a.sendall(data[i:i + 10_000])
        assert take(b, len(data)) == data


def test_ipv6():
    with line() as x:
        port = nodes.free_port({x.port})
        x.run(f"forward6 x {port} {x.listener.getsockname()[1]}")
        with socket.create_connection(("::1", port), 10) as client, x.listener.accept()[0] as server:
            client.sendall(b"x")
            server.settimeout(10)
            assert take(server, 1) == b"x"


def test_words():
    """What can't be meant is refused with a reason."""
    with line() as x:
        for command in ("cut y", "cut x 99", "cut x sideways", "rate x -1", "rate x 0.0001", "delay x up 5",
                        "stall x", "conns", "forward z 0 1", "nonsense x"):
            try:
                x.run(command)
            except procs.DevmeshError:
                continue
            raise AssertionError(f"'{command}' was taken")
