"""Peers that have proven who they are and then misbehave, and crowds that never do: the connection ends with
a reason, it is counted, and nobody else notices."""
import contextlib
import select
import socket
import struct
import time

from harness import Flow, wait_until
from lanes import Downs, refusals, settled
from rawpeer import (AUTH, DATA, HEARTBEAT, HELLO, LANE, LINK_STATE, WINDOW, Closed, Member, Neighbour, RawPeer, Refused,
                     frame, hello, text_id)

PROTOCOL, BAD_CERT, BAD_PROOF, FLOW, NO_LANE = 4002, 4007, 4008, 4019, 4020
HANDSHAKE_S = 3
MEMORY_MAX = 48 << 20


def address(m):
    return m.node("b")["transport_address"]


@contextlib.contextmanager
def others_unaffected(m):
    """The links between a, b and c live through it, and work after it."""
    settled(m, "a", "b")
    downs = Downs(m, "a", "c")
    yield
    with Flow(m, "a", ["c"], 100) as f:
        f.finish()
    downs.still()


def verdict(peer):
    """The close code that the node ends the connection with, and its reason."""
    peer.answer()
    try:
        end = wait_until("the connection to be ended", lambda: peer.ended, 10)
        return end.args if isinstance(end, Closed) else (0, str(end))
    finally:
        peer.close()


def fate(m, who, **how):
    """How a connection ends that must not be let in, whether that is found before its proof or by it."""
    try:
        return verdict(Neighbour(address(m), who, **how))
    except Closed as e:
        return e.args


def ends(m, who, data, *codes):
    """b ends who's lane 0 with one of the codes when it gets data, and counts it."""
    before = refusals(m, "b")
    peer = Neighbour(address(m), who, lanes_max=16)
    with contextlib.suppress(OSError):
        peer.send(data)
    code, reason = verdict(peer)
    assert code in codes, f"{data[:60]!r}: closed with {code} ({reason}), expected {codes}"
    wait_until("the error to be counted", lambda: refusals(m, "b") > before, 10)


def logged(m, who, words, seconds=30):
    """b's log says this of the link to who; such a node is no part of the topology."""
    def said():
        with open(m.node("b")["logs"]["transportd"], encoding="utf-8", errors="replace") as f:
            return any(text_id(who.node_id) in line and words in line for line in f)

    wait_until(f"'{words}' in b's log", said, seconds)


def test_a_hand_made_peer_is_a_peer(m):
    """What the other tests start from: proven, it has a link and gets heartbeats."""
    who = Member(m, "x")
    peer = Neighbour(address(m), who).answer()
    logged(m, who, "is up")
    assert peer.ended is None, peer.ended
    peer.close()
    logged(m, who, "is down")


def test_oversized_control_frames(m):
    """Lane 0 is for small frames of class control: large ones would hold up heartbeats."""
    who = Member(m, "x")
    with others_unaffected(m):
        for size in (5000, 15360):
            ends(m, who, frame(LINK_STATE, bytes(size), who.src), PROTOCOL)
        ends(m, who, frame(HEARTBEAT, bytes(4097), who.src), PROTOCOL)


def test_impossible_windows(m):
    """Acknowledged what was never sent, granted more than can be, or not even a window."""
    who, top = Member(m, "x"), 2 ** 64 - 1
    with others_unaffected(m):
        for fields in ((1 << 40, 1 << 40, 1 << 41, 1 << 41), (0, 0, top, top), (top, top, top, top),
                       (0, 1 << 20, 100, 1 << 20), (0, 0, 1 << 20, 1 << 40)):
            ends(m, who, frame(WINDOW, struct.pack(">QQQQ", *fields), who.src), FLOW)
        for junk in (b"", bytes(31), bytes(33)):
            ends(m, who, frame(WINDOW, junk, who.src), PROTOCOL)


def note(op, lane, conn=0, received=0):
    return struct.pack(">BHQQ", op, lane, conn, received)


def test_lanes_that_do_not_exist(m):
    who = Member(m, "x")
    with others_unaffected(m):
        for op in (1, 2, 3):
            ends(m, who, frame(LANE, note(op, 99), who.src), NO_LANE, PROTOCOL)
        for junk in (note(0, 0), note(9, 0), note(1, 0)[:-1], note(1, 0) + b"x", b""):
            ends(m, who, frame(LANE, junk, who.src), PROTOCOL)


def test_connections_for_lanes_that_do_not_exist(m):
    """The link that is there lives on."""
    who = Member(m, "x")
    with others_unaffected(m):
        first = Neighbour(address(m), who, lanes_max=4).answer()  # lanes 0 to 3
        for lane in (4, 99, 65535):
            before = refusals(m, "b")
            code, reason = fate(m, who, lane=lane, lanes_max=4)
            # No link ever has more than 16: such a hello is malformed.
            assert code == (NO_LANE if lane < 16 else PROTOCOL), f"lane {lane}: closed with {code} ({reason})"
            wait_until("it to be counted", lambda n=before: refusals(m, "b") > n, 10)
            assert first.ended is None, f"the good lane ended, too: {first.ended}"
        first.close()


def resident(m, name):
    with open(f"/proc/{m.node(name)['procs']['transportd']['pid']}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * 4096


def test_a_peer_that_never_reads(m):
    """It lets b send its own frames back to it, and reads none of them."""
    who, quiet, sent, most = Member(m, "x"), resident(m, "b"), 0, 0
    data = b"".join(frame(DATA, bytes(3500), who.src, cls=3, ttl=4, visit=[who.src]) for _ in range(4))
    with others_unaffected(m), Flow(m, "a", ["c"], 3000) as f:
        for _ in range(3):
            peer = Neighbour(address(m), who, lanes_max=1)
            with contextlib.suppress(OSError):
                for _ in range(2000):
                    peer.send(data)
                    sent += len(data)
                    most = max(most, resident(m, "b"))
            peer.close()
        f.finish()
    print(f"        {sent / 1e6:.0f} MB sent to itself; b grew by {(most - quiet) / 1e6:.1f} MB")
    assert sent > 1_000_000 and most - quiet < MEMORY_MAX


def test_a_peer_that_vanishes_in_a_frame(m):
    """Half a WebSocket message, then nothing: it is dead when its time is over."""
    who = Member(m, "x")
    with others_unaffected(m):
        peer = Neighbour(address(m), who)
        peer.sock.sendall(b"\x82\xfe\x10\x00\1\2\3\4half")
        logged(m, who, "is up")
        logged(m, who, "is down")
        peer.close()


def closed_by(s, seconds):
    """Whether the other side has closed within seconds."""
    return bool(select.select([s], [], [], seconds)[0]) and not s.recv(1)


def test_one_byte_a_second(m):
    """An upgrade that trickles in is ended after handshake-timeout."""
    who = Member(m, "x")
    with others_unaffected(m):
        peer = RawPeer(address(m), cert=who.cert, key=who.key_file, upgrade=False)
        begin, text = time.monotonic(), b"GET /mesh/v1 HTTP/1.1\r\nHost: a-name-that-takes-its-time\r\n" + b"X: y\r\n" * 99
        with contextlib.suppress(OSError):
            for i in range(len(text)):
                peer.sock.sendall(text[i:i + 1])
                if closed_by(peer.sock, 1):
                    break
                assert time.monotonic() - begin < 10 * HANDSHAKE_S, "it is still let in"
        took = time.monotonic() - begin
        assert took < 3 * HANDSHAKE_S, f"{took:.1f} s"
        peer.close()


def test_hundreds_of_half_open_connections(m):
    """Some speak no TLS, some no HTTP, some no hello; a good peer gets in while they hang there."""
    who = Member(m, "x")
    host, port = address(m).split(":")
    before = refusals(m, "b")
    settled(m, "a", "b")
    downs = Downs(m, "a")
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_connection((host, int(port)), 10))
        for i in range(100):
            with contextlib.suppress(Refused, OSError):
                peer = RawPeer(address(m), cert=who.cert, key=who.key_file, upgrade=i % 2 == 0)
                stack.callback(peer.close)
        m.restart("c", "transportd", timeout=30)
        settled(m, "c", "b")
    with Flow(m, "a", ["c"], 100) as f:
        f.finish()
    downs.still()
    assert refusals(m, "b") > before, "none was counted"


def lies(m, who, code, **how):
    before = refusals(m, "b")
    got, reason = fate(m, who, **how)
    assert got == code, f"closed with {got} ({reason}), expected {code}"
    wait_until("it to be counted", lambda: refusals(m, "b") > before, 10)


def test_claims_of_anothers_identity(m):
    """With another's proof, one of an earlier connection, or another's certificate."""
    who, victim = Member(m, "x"), Member(m, "y")
    with others_unaffected(m):
        alive = Neighbour(address(m), victim).answer()
        lies(m, who, BAD_PROOF, prove=victim.sign)
        lies(m, victim, BAD_PROOF, prove=who.sign)
        lies(m, victim, BAD_PROOF, prove=lambda _: victim.sign(alive.statement))
        lies(m, who, BAD_PROOF, prove=lambda s: who.sign(b"L" + s[1:]))
        peer = RawPeer(address(m), cert=who.cert, key=who.key_file)
        peer.send(frame(HELLO, hello(victim.mesh_id, victim.node_id, victim.public), victim.src))
        code, reason = peer.until_closed()
        assert code == BAD_CERT, f"closed with {code} ({reason})"
        assert alive.ended is None, f"the victim's link ended: {alive.ended}"
        alive.close()


def test_proof_comes_first(m):
    """Before the proof nothing else is taken, on any lane."""
    who = Member(m, "x")
    with others_unaffected(m):
        for data in (frame(WINDOW, bytes(32), who.src), frame(LANE, note(2, 2), who.src), frame(AUTH, bytes(64), who.src)):
            peer = RawPeer(address(m), cert=who.cert, key=who.key_file)
            peer.send(data)
            code, reason = peer.until_closed()
            assert code == PROTOCOL, f"closed with {code} ({reason})"
            peer.close()


MESH = {"settings": [f"transportd.handshake-timeout={HANDSHAKE_S}s"]}
