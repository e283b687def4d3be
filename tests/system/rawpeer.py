"""A peer of transportd made by hand: TLS, the upgrade and frames, for what a real one never sends."""
import base64
import hashlib
import os
import socket
import ssl
import struct
import threading

HELLO, AUTH, WINDOW, HEARTBEAT, PROBE, GOAWAY, LANE, TOKEN, LINK_STATE, DATA = 1, 2, 3, 4, 5, 6, 7, 8, 17, 19
HEADER = struct.Struct(">BBBBBBBBHHIIIQ")
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
    head = HEADER.pack(version, kind, cls, flags, ttl, hops, len(visit), reserved, 0, len(e2e),
                       len(payload) if payload_len is None else payload_len, 0, 0, src)
    return head + b"".join(struct.pack(">Q", v) for v in visit) + e2e + payload


def hello(mesh_id, node_id, key, version=2, name=b"x", lane=0, lanes_max=1, window=4 << 20, frames=65536):
    return (bytes([version]) + base32(mesh_id) + node_id + key + os.urandom(32) + struct.pack(">Q", 1)
            + bytes([len(name)]) + name + struct.pack(">HBII", lane, lanes_max, window, frames) + bytes(36))


def parse(data):
    """(type, payload) of each frame in a message."""
    while data:
        _, kind, _, _, _, _, visits, _, _, e2e, size, _, _, _ = HEADER.unpack(data[:HEADER.size])
        at = HEADER.size + 8 * visits + e2e
        yield kind, data[at:at + size]
        data = data[at + size:]


def digest(data):
    return hashlib.blake2b(data, digest_size=32).digest()


def text_id(node_id):
    """A node id as people write it: 13 characters."""
    n = int.from_bytes(node_id, "big")
    return "".join(ALPHABET[n >> 5 * i & 31] for i in reversed(range(13)))


class Refused(Exception):
    """The connection ended before it carried frames: HTTP status or TLS error in the text."""


class Closed(Exception):
    """The other side has closed the WebSocket; the code and the reason are its arguments."""


class Tls:
    """A socket with TLS that gives away the keying material which proofs are bound to; Python's does not."""

    def __init__(self, raw, cert, key):
        from OpenSSL import SSL
        self.raw, self.errors = raw, SSL
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.use_certificate_chain_file(cert)
        context.use_privatekey_file(key)
        self.tls = SSL.Connection(context, None)
        self.tls.set_connect_state()
        self._until_done(self.tls.do_handshake)

    def _until_done(self, call, *args):
        while True:
            try:
                return call(*args)
            except self.errors.WantReadError:
                self._flush()
                data = self.raw.recv(65536)
                if not data:
                    raise ConnectionResetError("closed") from None
                self.tls.bio_write(data)
            except self.errors.ZeroReturnError:
                return b""
            except self.errors.Error as e:
                raise OSError(str(e)) from None

    def _flush(self):
        try:
            while True:
                self.raw.sendall(self.tls.bio_read(65536))
        except self.errors.WantReadError:
            pass

    def settimeout(self, seconds):
        self.raw.settimeout(seconds)

    def recv(self, size):
        return self._until_done(self.tls.recv, size)

    def sendall(self, data):
        self.tls.sendall(data)
        self._flush()

    def exporter(self):
        return self.tls.export_keying_material(b"EXPORTER-mesh.v1", 32)

    def close(self):
        self.raw.close()


class RawPeer:
    def __init__(self, address, ca=None, cert=None, key=None, path="/mesh/v1", subprotocol="mesh.v1", upgrade=True,
                 exporter=False):
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
            raw.settimeout(10)
            self.sock = Tls(raw, cert, key) if exporter else ctx.wrap_socket(raw)
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


class Member:
    """A node of our making: a key, and a certificate for it of the mesh's authority."""

    def __init__(self, m, name):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from devmeshlib import nodes
        self.key = Ed25519PrivateKey.generate()
        self.public = self.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.node_id = digest(self.public)[:8]
        self.src, self.mesh_id = int.from_bytes(self.node_id, "big"), m.state["mesh_id"]
        prefix = f"{m.dir}/{name}-{text_id(self.node_id)}"
        nodes.meshctl(m.state, "ca", "node", f"{m.dir}/ca", text_id(self.node_id), "--name", name, "-o", prefix)
        self.cert, self.key_file = f"{prefix}.crt", f"{prefix}.key"

    def sign(self, statement):
        return self.key.sign(b"mesh.v1 hello\0" + statement)


class Neighbour(RawPeer):
    """A lane to a node, dialled and proven by a Member; from there on it does what it is told.  prove: what
    signs the statement, for those that lie."""

    def __init__(self, address, member, prove=None, **in_hello):
        super().__init__(address, cert=member.cert, key=member.key_file, exporter=True)
        self.member, self.answering = member, None
        mine = hello(member.mesh_id, member.node_id, member.public, **in_hello)
        self.say(HELLO, mine)
        theirs = self.expect(HELLO)
        self.statement = b"D" + base32(member.mesh_id) + digest(mine) + digest(theirs) + self.sock.exporter()
        self.say(AUTH, (prove or member.sign)(self.statement))
        self.expect(AUTH)

    def say(self, kind, payload=b"", **fields):
        self.send(frame(kind, payload, self.member.src, **fields))

    def frames(self):
        """Frames as they come; Closed at the end of the WebSocket, Refused at another end."""
        while True:
            opcode, data = self.recv()
            if opcode == CLOSE:
                raise Closed(struct.unpack(">H", data[:2])[0] if len(data) >= 2 else 0, data[2:].decode(errors="replace"))
            if opcode == BINARY:
                yield from parse(data)

    def expect(self, kind):
        for got, payload in self.frames():
            if got == kind:
                return payload
            if got == HEARTBEAT and payload[:1] == b"\1":
                self.say(HEARTBEAT, b"\2" + payload[1:])
        raise AssertionError("unreachable")

    def answer(self):
        """Answers heartbeats in the background, as a live peer does, until the end."""
        def run():
            try:
                self.expect(None)
            except (Closed, Refused, OSError) as e:
                self.ended = e

        self.ended = None
        self.answering = threading.Thread(target=run, daemon=True)
        self.answering.start()
        return self

    def close(self):
        import socket as s
        try:
            self.sock.raw.shutdown(s.SHUT_RDWR)
        except OSError:
            pass
        super().close()
        if self.answering:
            self.answering.join(10)
