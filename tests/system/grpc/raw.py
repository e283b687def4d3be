"""HTTP/2 by hand, for what a proper client never sends."""
import socket
import struct
import time

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def encode(fields):
    """Without a dynamic table, so that blocks may be sent in any order, or never."""
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(k, v) for k, v in fields])


def request(path, extra=(), without=()):
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"), ("te", "trailers"),
              ("content-type", "application/grpc")]
    return encode([f for f in fields if f[0] not in without] + list(extra))


def message(body, flag=0):
    return bytes([flag]) + struct.pack(">I", len(body)) + body


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


class Connection:
    def __init__(self, path, preface=True):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(path))
        self.sock.settimeout(10)
        self.buffer = b""
        self.decoder = hpack.Decoder()
        self.fields, self.bodies, self.resets, self.ended = {}, {}, {}, set()
        self.goaway = None
        self.pings = []
        self.windows = {}
        if preface:
            self.send(PREFACE + frame(SETTINGS, 0, 0))

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def headers(self, stream, block, end=False):
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block))

    def data(self, stream, body, end=False):
        """Splits by the largest frame; assumes that the window is large enough."""
        for i in range(0, max(len(body), 1), 16384):
            part = body[i:i + 16384]
            last = i + 16384 >= len(body)
            self.send(frame(DATA, END_STREAM if end and last else 0, stream, part))

    def read(self, until, seconds=10):
        """Handles frames until the condition holds; False at the end of the connection or of the time."""
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                return False
            self.sock.settimeout(max(end - time.monotonic(), 0.001))
            try:
                more = self.sock.recv(65536)
            except (TimeoutError, socket.timeout):
                return False
            except ConnectionResetError:
                more = b""
            if not more:
                return until()
            self.buffer += more
            self.frames()
        return True

    def frames(self):
        while len(self.buffer) >= 9:
            n = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + n:
                return
            kind, flags = self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:9], "big") & 0x7FFFFFFF
            payload, self.buffer = self.buffer[9:9 + n], self.buffer[9 + n:]
            self.handle(kind, flags, stream, payload)

    def handle(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == HEADERS:
            self.fields.setdefault(stream, []).extend(self.decoder.decode(payload))
        elif kind == DATA:
            self.bodies.setdefault(stream, bytearray()).extend(payload)
        elif kind == RST:
            self.resets[stream] = int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            self.goaway = (int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big"), payload[8:])
        elif kind == PING:
            if flags & ACK:
                self.pings.append(payload)
            else:
                self.send(frame(PING, ACK, 0, payload))
        elif kind == WINDOW:
            self.windows[stream] = self.windows.get(stream, 0) + int.from_bytes(payload, "big")
        if flags & END_STREAM and kind in (HEADERS, DATA):
            self.ended.add(stream)

    def status(self, stream, seconds=10):
        """grpc-status and grpc-message of a stream."""
        self.read(lambda: stream in self.ended or stream in self.resets, seconds)
        fields = dict(self.fields.get(stream, []))
        return fields.get("grpc-status"), fields.get("grpc-message", "")

    def ping(self, payload=b"01234567", seconds=5):
        before = len(self.pings)
        self.send(frame(PING, 0, 0, payload))
        assert self.read(lambda: len(self.pings) > before, seconds), "no answer to a ping"

    def closed(self, seconds=10):
        """True if the server closes the connection."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.sock.settimeout(max(end - time.monotonic(), 0.001))
            try:
                more = self.sock.recv(65536)
            except (TimeoutError, socket.timeout):
                return False
            except ConnectionResetError:
                return True
            if not more:
                return True
            self.buffer += more
            self.frames()
        return False
