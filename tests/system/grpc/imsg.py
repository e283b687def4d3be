"""gatewayd's control socket by hand: imsg framing, hello, the messages of proto/control_gateway.def."""
import os
import socket
import struct
import time

HELLO, CALL, MESSAGE_OUT, HALF_CLOSE, CANCEL, MESSAGE_IN, STATUS, HOLD = 1, 8, 9, 10, 11, 32, 33, 34
HEADER = struct.Struct("=IIII")


def str8(s):
    return bytes([len(s)]) + s.encode()


def varint_fields(body):
    """{number: value} of a message with varint and bytes fields."""
    out, i = {}, 0

    def varint():
        nonlocal i
        n = shift = 0
        while True:
            n |= (body[i] & 127) << shift
            shift += 7
            i += 1
            if not body[i - 1] & 128:
                return n

    while i < len(body):
        tag = varint()
        if tag & 7 == 0:
            out[tag >> 3] = varint()
        elif tag & 7 == 2:
            n = varint()
            out[tag >> 3] = body[i:i + n]
            i += n
        else:
            i += 8
    return out


class Control:
    def __init__(self, path, edge="control_gateway", version=1, hello=True):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(path))
        self.buffer = b""
        self.messages = []
        if hello:
            self.send(HELLO, 0, str8(edge) + struct.pack(">I", version) + str8("test"))
            assert self.read(lambda: self.messages, 5), "no hello"
            assert self.messages.pop(0)[0] == HELLO

    def send(self, kind, peerid, body=b""):
        try:
            self.sock.sendall(HEADER.pack(kind, HEADER.size + len(body), peerid, os.getpid()) + body)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def call(self, peerid, path, body=b""):
        self.send(CALL, peerid, str8(path) + body)

    def read(self, until, seconds=10):
        end = time.monotonic() + seconds
        while not until():
            self.sock.settimeout(max(end - time.monotonic(), 0.001))
            try:
                more = self.sock.recv(65536)
            except (TimeoutError, socket.timeout):
                return False
            except ConnectionResetError:
                more = b""
            if not more:
                return bool(until())
            self.buffer += more
            while len(self.buffer) >= HEADER.size:
                kind, length, peerid, _ = HEADER.unpack(self.buffer[:HEADER.size])
                if len(self.buffer) < length:
                    break
                self.messages.append((kind, peerid, self.buffer[HEADER.size:length]))
                self.buffer = self.buffer[length:]
        return True

    def of(self, peerid, kind):
        return [m[2] for m in self.messages if m[1] == peerid and m[0] == kind]

    def status(self, peerid, seconds=10):
        assert self.read(lambda: self.of(peerid, STATUS), seconds), f"no status of call {peerid}"
        f = varint_fields(self.of(peerid, STATUS)[0])
        return f.get(1, 0), f.get(2, b"").decode()

    def closed(self, seconds=5):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.sock.settimeout(max(end - time.monotonic(), 0.001))
            try:
                if not self.sock.recv(65536):
                    return True
            except (TimeoutError, socket.timeout):
                return False
            except ConnectionResetError:
                return True
        return False
