"""Peers that are hard to reach: behind a NAT, through an HTTP proxy, behind a proxy that ends TLS, or asleep."""
import contextlib
import os
import re
import signal
import socket
import time

from devmeshlib import middle, nodes
from harness import Flow, mesh, shaped, wait_until
from lanes import Downs, lanes, link, metric, refusals, settled
from natbox import nat

HEARTBEAT = "transportd.heartbeat-interval=100ms"


def both_ways(m, count=500):
    with Flow(m, "a", ["b"], count) as f, Flow(m, "b", ["a"], count) as g:
        f.finish()
        g.finish()


def log_of(m, name):
    with open(m.node(name)["logs"]["transportd"], encoding="utf-8", errors="replace") as f:
        return f.read()


# --- asleep ---

@contextlib.contextmanager
def stopped(m, name):
    m.signal(name, "transportd", signal.SIGSTOP)
    try:
        yield time.monotonic()
    finally:
        m.signal(name, "transportd", signal.SIGCONT)


def test_stalled_peer_is_forgiven():
    """A peer that has no CPU for a second, while its kernel answers, is no dead peer."""
    with mesh(2, "line", direct=True, settings=[HEARTBEAT]) as m:
        settled(m, "a", "b")
        downs, since = Downs(m, "a", "b"), link(m, "a", "b").since_unix_ms
        with Flow(m, "a", ["b"], 4000) as f:
            f.wait_share(0.2)
            with stopped(m, "b") as begin:
                wait_until("b to be called stalled", lambda: {x.state for x in lanes(m, "a", "b").values()} == {"stalled"},
                           10)
                wait_until("a second to pass", lambda: time.monotonic() - begin > 1)
            f.finish()
        settled(m, "a", "b")
        assert link(m, "a", "b").since_unix_ms == since
        downs.still()


def test_stalled_too_long():
    """After stall-timeout it is left, and taken back when it wakes."""
    with mesh(2, "line", direct=True, settings=[HEARTBEAT, "transportd.stall-timeout=2s"]) as m:
        settled(m, "a", "b")
        downs = metric(m, "a", "mesh_link_downs_total")
        with Flow(m, "a", ["b"], 3000) as f:
            f.wait_share(0.2)
            with stopped(m, "b") as begin:
                wait_until("the link to be down", lambda: metric(m, "a", "mesh_link_downs_total") > downs, 20)
                took = time.monotonic() - begin
            f.finish()
        print(f"        left after {took:.1f} s")
        assert 1.5 < took < 6, f"{took:.1f} s"
        settled(m, "a", "b")


# --- NAT ---

def test_nat():
    """a is behind a NAT: it dials, b never does, and both send.  Then the NAT forgets, and changes its ports."""
    with nat() as box:
        if box is None:
            return
        places = {"a": (box.names["inside"], box.INSIDE), "b": (box.names["outside"], box.OUTSIDE)}
        with shaped("a -> b", direct=True, places=places, settings=[HEARTBEAT]) as m:
            mine = settled(m, "a", "b")
            assert all(x.dialled for x in mine.values())
            assert all(x.address.startswith("10.231.2.1:") for x in lanes(m, "b", "a").values()), "not masqueraded"
            both_ways(m)
            with Flow(m, "a", ["b"], 5000) as f, Flow(m, "b", ["a"], 5000) as g:
                f.wait_share(0.2)
                box.forget()
                f.wait_share(0.4)
                box.masquerade("20000-30000")
                box.forget()
                f.finish()
                g.finish()
            settled(m, "a", "b")
            both_ways(m)


# --- an HTTP proxy ---

def proxy_log(m, number=0):
    with open(f"{m.dir}/link{number}-tinyproxy/log", encoding="utf-8", errors="replace") as f:
        return f.read()


def test_connect_proxy():
    with shaped("a -> b proxy=connect", settings=[HEARTBEAT]) as m:
        settled(m, "a", "b")
        assert proxy_log(m).count("CONNECT 127.0.0.1:") >= 3, proxy_log(m)[-2000:]
        both_ways(m)
        with Flow(m, "a", ["b"], 3000) as f:
            f.wait_share(0.2)
            m.reset("a", "b")
            f.finish()
        settled(m, "a", "b")


def test_connect_proxy_with_password():
    """With the wrong password the log says what is wrong; with the right one the link is there."""
    with shaped("a -> b proxy=login", settings=[HEARTBEAT]) as m:
        settled(m, "a", "b")
        both_ways(m)
        login = f"{m.dir}/link0-login"
        nodes.write_file(m.state, login, "devmesh:wrong\n")
        before = len(log_of(m, "a"))
        m.restart("a", "transportd", wait=False)
        wait_until("a to say that the proxy refuses it", lambda: re.search("answered 40[17]", log_of(m, "a")[before:]))
        assert "wrong" not in log_of(m, "a")[before:], "a password in the log"
        middle.write_login(m.state, login)
        m.restart("a", "transportd")
        settled(m, "a", "b")
        both_ways(m)


# --- a proxy that ends TLS ---

def plain_request(address, *lines):
    """The status line that the address, which takes plain HTTP, answers to an upgrade with these headers."""
    host, port = address.split(":")
    head = ["GET /mesh/v1 HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol: mesh.v1", *lines]
    with socket.create_connection((host, int(port)), 10) as s:
        s.settimeout(10)
        s.sendall("\r\n".join([*head, "", ""]).encode())
        return s.recv(4096).decode(errors="replace").split("\r\n")[0]


def test_token_link():
    """nginx ends TLS in front of b: a shows a token, both prove their keys, and who has no token is told so."""
    with shaped("a -> b token", settings=[HEARTBEAT]) as m:
        mine = settled(m, "a", "b")
        assert {x.auth for x in mine.values()} == {"token"}, mine
        both_ways(m)
        with Flow(m, "a", ["b"], 3000) as f:
            f.wait_share(0.2)
            m.reset("a", "b")
            f.finish()
        since, before = link(m, "a", "b").since_unix_ms, refusals(m, "b")
        proxied = f"127.0.0.1:{m.state['links'][0]['proxied_port']}"
        for lines in ((), ("Authorization: Bearer ",), ("Authorization: Bearer a.b.c",), ("Authorization: Basic eDp5",),
                      ("Authorization: Bearer " + "A" * 9000,)):
            status = plain_request(proxied, *lines)
            assert " 401 " in status or " 400 " in status or " 431 " in status, f"{lines!r:.60}: {status}"
        wait_until("the refusals to be counted", lambda: refusals(m, "b") >= before + 3)
        assert link(m, "a", "b").since_unix_ms == since


def test_token_is_renewed():
    """Before the token ends another is shown on the open connection; TEST_LONG=1: for more than two lifetimes."""
    with shaped("a -> b token", settings=[HEARTBEAT, "transportd.token-lifetime=30s"]) as m:
        settled(m, "a", "b")
        downs, since = Downs(m, "a", "b"), link(m, "a", "b").since_unix_ms
        begin, first = time.monotonic(), lanes(m, "b", "a")

        def renewed():
            now = lanes(m, "b", "a")
            return all(now[n].auth_until_unix_ms > first[n].auth_until_unix_ms and now[n].address == first[n].address
                       for n in first)

        assert all(x.auth_until_unix_ms for x in first.values()), first
        wait_until("a new token on each lane", renewed, 38)
        if os.environ.get("TEST_LONG"):
            wait_until("two lifetimes to pass", lambda: time.monotonic() - begin > 70, 80)
            assert {n: x.address for n, x in lanes(m, "b", "a").items()} == {n: x.address for n, x in first.items()}
        both_ways(m)
        assert link(m, "a", "b").since_unix_ms == since
        downs.still()
