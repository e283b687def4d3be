"""A peer of transportd made by hand: TLS, the upgrade and frames, for what a real one never sends."""
import base64
import hashlib
import os
import socket
import ssl
import struct

HELLO, AUTH, HEARTBEAT, GOAWAY, DATA = 1, 2, 4, 6, 19
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BINARY, CLOSE, PING = 2, 8, 9
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def base32(text):
    """The bytes behind a node id or a ULID."""
    n = 0
    for c in text:
        n = n << 5 | ALPHABET.index(c)
    return n.to_bytes(16 if len(text) == 26 else 8, "big")


def frame(kind, payload=b"", src=1, *, version=1, cls=0, flags=0, ttl=1, hops=0, visit=(), e2e=b"", reserved=0,
          payload_len=None):
    """A frame as mesh-wire(7) has it; every field can be made wrong."""
    head = struct.pack(">BBBBBBBBHHIIIQ", version, kind, cls, flags, ttl, hops, len(visit),
                       reserved, 0, len(e2e), len(payload) if payload_len is None else payload_len, 0, 0, src)
    return head + b"".join(struct.pack(">Q", v) for v in visit) + e2e + payload


def hello(mesh_id, node_id, key, version=1, name=b"x"):
    return (bytes([version]) + base32(mesh_id) + node_id + key + os.urandom(32) + struct.pack(">Q", 1)
            + bytes([len(name)]) + name)


class Refused(Exception):
    """The connection ended before it carried frames: HTTP status or TLS error in the text."""


class RawPeer:
    def __init__(self, address, ca=None, cert=None, key=None, path="/mesh/v1", subprotocol="mesh.v1", upgrade=True):
        host, port = address.split(":")
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ctx.check_hostname = False
        ctx.verify_mode = ssl.CERT_NONE
        if ca:
            ctx.load_verify_locations(ca)
        if cert:
            ctx.load_cert_chain(cert, key)
        raw = socket.create_connection((host, int(port)), timeout=10)
        try:
            self.sock = ctx.wrap_socket(raw)
            self.sock.settimeout(10)
            self.buffer = b""
            if upgrade:
                self._upgrade(path, subprotocol)
        except OSError as e:
            raise Refused(str(e)) from None

    def _upgrade(self, path, subprotocol):
        nonce = base64.b64encode(os.urandom(16))
        lines = [f"GET {path} HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade",
                 "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {nonce.decode()}"]
        if subprotocol:
            lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
        self.sock.sendall("\r\n".join(lines + ["", ""]).encode())
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        status = head.split(b"\r\n")[0].decode()
        if " 101 " not in status:
            raise Refused(status)
        want = base64.b64encode(hashlib.sha1(nonce + GUID).digest())
        assert want in head, "wrong Sec-WebSocket-Accept"

    def _more(self):
        try:
            data = self.sock.recv(65536)
        except OSError as e:
            raise Refused(str(e)) from None
        if not data:
            raise Refused("closed")
        self.buffer += data

    def send(self, data, opcode=BINARY):
        mask = os.urandom(4)
        head = bytes([0x80 | opcode])
        if len(data) < 126:
            head += bytes([0x80 | len(data)])
        elif len(data) < 65536:
            head += bytes([0x80 | 126]) + struct.pack(">H", len(data))
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", len(data))
        self.sock.sendall(head + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(data)))

    def _take(self, n):
        while len(self.buffer) < n:
            self._more()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def recv(self):
        """(opcode, payload) of the next WebSocket message."""
        first, second = self._take(2)
        size = second & 0x7f
        if size == 126:
            size = struct.unpack(">H", self._take(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self._take(8))[0]
        return first & 15, self._take(size)

    def until_closed(self):
        """Reads to the end; the WebSocket close code and reason, or (0, why) without one."""
        try:
            while True:
                opcode, data = self.recv()
                if opcode == CLOSE:
                    return struct.unpack(">H", data[:2])[0] if len(data) >= 2 else 0, data[2:].decode(errors="replace")
        except Refused as e:
            return 0, str(e)

    def close(self):
        self.sock.close()
