"""Peers with wrong keys, certificates, meshes and frames, and siblings of another version: each is told
why and left out, and the mesh goes on."""
import contextlib
import os
import random
import socket
import struct

import rawpeer
from devmeshlib import nodes
from harness import Flow, check_alive, mesh, wait_until
from rawpeer import RawPeer, Refused, base32, frame, hello


def log_of(node, daemon="transportd"):
    with open(node["logs"][daemon], encoding="utf-8", errors="replace") as f:
        return f.read()


def still_works(m):
    with Flow(m, "a", ["c"], 100) as f:
        f.finish()
    check_alive(m)


def sees(m, name):
    status = nodes.status(m.state, m.node(name))
    return {n["node_name"] for n in status["nodes"] if n["status"] == "alive"} if status else set()


def told(m, *words):
    """Some node's transportd said it in its log, since setup_node() if that was called."""
    since = getattr(m, "logs_before", {})
    wait_until(f"a log line with {', '.join(words)}", lambda: any(
        all(w in line for w in words) for n in m.nodes for line in log_of(n)[since.get(n["name"], 0):].splitlines()))


def setup_node(m, name):
    """Stops the node's transportd, so that its files can be changed."""
    m.kill(name, "transportd")
    wait_until(f"{name} to be gone", lambda: name not in sees(m, "a"))
    m.logs_before = {n["name"]: len(log_of(n)) for n in m.nodes}
    return m.node(name)


def cert_for(m, node, *options, ca=None, node_id=None):
    nodes.meshctl(m.state, "ca", "node", ca or f"{m.dir}/ca", node_id or node["node_id"], "--name", node["name"],
                  "--ip", "127.0.0.1", "--force", "-o", f"{node['dir']}/tls/node", *options)


def refused_then_healed(m, *words):
    """c comes back with what was broken: it is refused with these words, while a and b work on; repaired, it
    is taken back."""
    c = m.node("c")
    m.start("c", "transportd")
    told(m, *words)
    assert "c" not in sees(m, "a")
    with Flow(m, "a", ["b"], 100) as f:
        f.finish()
    m.kill("c", "transportd")
    cert_for(m, c)
    m.start("c", "transportd")
    m.wait_ready()
    still_works(m)


def test_expired_certificate(m):
    cert_for(m, setup_node(m, "c"), "--not-before", "2020-01-01", "--days", "1")
    refused_then_healed(m, "certificate", "expired")


def test_certificate_not_valid_yet(m):
    cert_for(m, setup_node(m, "c"), "--not-before", "2100-01-01", "--days", "1")
    refused_then_healed(m, "refused", "certificate")


def test_foreign_authority(m):
    c = setup_node(m, "c")
    nodes.meshctl(m.state, "ca", "init", "--mesh", m.state["mesh_id"], f"{m.dir}/foreign", "--force")
    cert_for(m, c, ca=f"{m.dir}/foreign")
    refused_then_healed(m, "certificate")


def test_certificate_of_another_node(m):
    c = setup_node(m, "c")
    cert_for(m, c, node_id=m.node("a")["node_id"])
    refused_then_healed(m, "certificate does not name the node")


def test_another_mesh():
    """A node of another mesh, even with a certificate of the right authority."""
    with mesh(2, "line") as m:
        b = m.node("b")
        with open(b["config"], encoding="utf-8") as f:
            text = f.read()
        other = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
        m.kill("b", "all")
        nodes.meshctl(m.state, "ca", "init", "--mesh", other, f"{m.dir}/other")
        nodes.write_file(m.state, b["config"], text.replace(m.state["mesh_id"], other))
        m.start("b", "all")
        told(m, "another mesh")
        assert sees(m, "a") == {"a"}


def test_another_key():
    """c's key was replaced: it has another node id than its certificate and its peers' configuration say."""
    with mesh(2, "line") as m:
        b = m.node("b")
        m.kill("b", "all")
        old = f"{b['keyring']}.old"
        os.rename(b["keyring"], old)
        nodes.meshctl(m.state, "keygen", b["keyring"])
        m.start("b", "all")
        wait_until("a reason", lambda: "belongs to node" in log_of(b, "consensusd"))
        assert sees(m, "a") == {"a"}
        m.kill("b", "all")
        nodes.meshctl(m.state, "tenant-key", "--from", old, "acme", b["keyring"])
        os.rename(f"{b['keyring']}", f"{b['keyring']}.new")
        os.rename(old, b["keyring"])
        m.start("b", "all")
        m.wait_ready()


def stranger(m):
    """A certificate of the right authority for a node that has no key: path prefix."""
    prefix = f"{m.dir}/stranger"
    if not os.path.exists(f"{prefix}.crt"):
        nodes.meshctl(m.state, "ca", "node", f"{m.dir}/ca", "0000000000001", "-o", prefix)
    return {"cert": f"{prefix}.crt", "key": f"{prefix}.key"}


def test_plain_http_and_wrong_paths(m):
    address = m.node("b")["transport_address"]
    for options in ({"path": "/"}, {"path": "/mesh/v2"}, {"subprotocol": "chat"}, {"subprotocol": None}):
        with contextlib.suppress(Refused):
            RawPeer(address, **stranger(m), **options)
            raise AssertionError(f"{options} was let in")
    with contextlib.suppress(Refused):
        RawPeer(address)
        raise AssertionError("let in without a certificate")
    still_works(m)


def test_wrong_hellos(m):
    """Another mesh, an id that is not the key's, a certificate that is not the node's, no proof."""
    b, mesh_id = m.node("b"), m.state["mesh_id"]
    key = os.urandom(32)
    import hashlib
    own_id = hashlib.blake2b(key, digest_size=32).digest()[:8]
    cases = [
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", own_id, 2, 4004),
        (mesh_id, base32("0000000000001"), 2, 4006),
        (mesh_id, own_id, 2, 4007),
        (mesh_id, own_id, 1, 4003),
        (mesh_id, own_id, 9, 4003),
    ]
    for mesh, node_id, version, code in cases:
        peer = RawPeer(b["transport_address"], **stranger(m))
        src = struct.unpack(">Q", node_id)[0]
        peer.send(frame(rawpeer.HELLO, hello(mesh, node_id, key, version), src))
        got, reason = peer.until_closed()
        assert got == code, f"closed with {got} ({reason}), expected {code}"
        peer.close()
    still_works(m)


def test_malformed_frames(m):
    """Whatever comes before the proof ends that connection with a reason, and nothing else."""
    b = m.node("b")
    good = frame(rawpeer.HEARTBEAT, b"\0" * 24)
    bad = [b"", b"\0", b"\xff" * 100, good, good[:31], frame(rawpeer.HEARTBEAT, version=2), frame(99),
           frame(rawpeer.HEARTBEAT, cls=7), frame(rawpeer.HEARTBEAT, flags=0xff), frame(rawpeer.HEARTBEAT, reserved=1),
           frame(rawpeer.HEARTBEAT, src=0), frame(rawpeer.HEARTBEAT, visit=[2]),
           frame(rawpeer.HELLO, payload_len=0xffffffff), frame(rawpeer.DATA, b"x", visit=list(range(1, 17))),
           frame(rawpeer.AUTH, b"\0" * 64), frame(rawpeer.HELLO, b"\1"), os.urandom(16384), os.urandom(70000)]
    for data in bad:
        peer = RawPeer(b["transport_address"], **stranger(m))
        with contextlib.suppress(OSError):
            peer.send(data)
        code, reason = peer.until_closed()
        assert code == 0 or code == 1009 or 4000 <= code < 5000, f"{data[:40]!r}: closed with {code} {reason}"
        peer.close()
    still_works(m)


def test_garbage_on_the_port(m):
    """No TLS at all, or half of it."""
    rng = random.Random(1)
    host, port = m.node("b")["transport_address"].split(":")
    for size in (1, 100, 10000):
        with socket.create_connection((host, int(port)), timeout=10) as s, contextlib.suppress(OSError):
            s.sendall(rng.randbytes(size))
            while s.recv(4096):
                pass
    still_works(m)


def imsg(kind, body, peerid=0):
    return struct.pack("=IIII", kind, 16 + len(body), peerid, os.getpid()) + body


def sibling_hello(edge, version, name="consensusd"):
    return imsg(1, bytes([len(edge)]) + edge.encode() + struct.pack(">I", version) + bytes([len(name)]) + name.encode())


def sibling_says(node, daemon, data):
    """What a daemon answers on its socket until it closes the connection."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(f"{node['dir']}/run/{daemon}.sock")
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)  # where the daemon answers and waits for more, that is the end
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := s.recv(65536):
                answer += chunk
        return answer


EDGES = [("transportd", "consensus_transport"), ("transportd", "router_transport"),
         ("transportd", "gateway_transport"), ("routerd", "consensus_router"), ("routerd", "gateway_router"),
         ("consensusd", "gateway_consensus"), ("gatewayd", "control_gateway")]


def test_sibling_of_another_version(m):
    """It is told the version that is spoken here, and the log says what to install."""
    for daemon, edge in EDGES:
        for n in m.nodes[:1]:
            answer = sibling_says(n, daemon, sibling_hello(edge, 4711))
            assert edge.encode() in answer, f"{daemon} did not answer the hello of {edge}"
            wait_until(f"{daemon} to say why", lambda n=n, d=daemon: "version 4711" in log_of(n, d))
    still_works(m)


def test_sibling_that_talks_nonsense(m):
    for daemon, edge in EDGES:
        good = sibling_hello(edge, 1)
        for data in (b"\0" * 16, b"\xff" * 64, imsg(1, b""), imsg(8, b"x"), sibling_hello("nobody_nowhere", 1),
                     good + imsg(4000, b""), good + imsg(32, b"x" * 40), good + struct.pack("=IIII", 8, 3, 0, 0),
                     good + struct.pack("=IIII", 8, 0x7fffffff, 0, 0), good + imsg(8, b"\xff" * 60)):
            sibling_says(m.node("a"), daemon, data)
    m.wait_ready()
    still_works(m)


MESH = {}
