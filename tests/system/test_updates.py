"""What the members of a control group share: configuration, rows of their databases, keys, and what nodes say of
themselves; with nodes that are away, and daemons that die."""
import contextlib
import json
import os
import random
import signal
import threading
import time

import grpc
import psycopg2

import mesh_pb2 as pb
from api import Api, expect, open_stream
from flow import RETRIED, Publisher, Sink
from groups import (QUICK, Watch, away, back, ctl, ctl_json, found, leader, mark, raft, refused, soon, ulid,
                    wait_members)
from harness import check_rows, mesh, query, wait_all, wait_until

# acme's key of the files is the nodes' own; that of "shared" comes from the control group.
MESH = {"count": 3, "settings": QUICK}
TABLES = """
	db-table stock {
		key item
		columns amount note
		operations insert update delete upsert
	}
	db-table trail {
		columns who n
		operations insert
	}
"""
LONG = bool(os.environ.get("TEST_LONG"))


def begun(m):
    if raft(m, "a") is None:
        found(m)
        for n in "abc":
            change(m, n, "CREATE TABLE public.stock (item text PRIMARY KEY, amount bigint CHECK (amount >= 0), "
                   "note text)", "CREATE TABLE public.trail (who text, n bigint, done timestamptz DEFAULT now())")
            add_to_config(m, n, TABLES)
    wait_members(m, "abc", "abc")
    return leader(m, "abc")


def change(m, node, *statements):
    with contextlib.closing(psycopg2.connect(m.node(node)["database"])) as db, db, db.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)


def add_to_config(m, node, text, old=None):
    """Into consensusd's section, instead of what was there before; and it is reloaded."""
    path = m.node(node)["config"]
    with open(path, encoding="utf-8") as f:
        conf = f.read()
    conf = conf.replace("consensusd {", "consensusd {" + text, 1) if old is None else conf.replace(old, text, 1)
    with open(path, "w", encoding="utf-8") as f:
        f.write(conf)
    m.signal(node, "consensusd", signal.SIGHUP)


# --- configuration ---

def value(m, node, key):
    """What SQL says there."""
    rows = query(m.node(node), "SELECT value FROM mesh.config_kv WHERE key = %s", key)
    return rows[0][0] if rows else None


def test_config(m):
    begun(m)
    watch = Watch(m, "b")
    refused(m, "a", "config", "set", "color", "not json", text="")
    ctl(m, "a", "config", "set", "-w", "all", "color", '{"hex": "ff0000"}')
    watch.wait("config_changed", key="color")
    for n in "abc":
        assert ctl_json(m, n, "config", "get", "color")["version"] == 1
        wait_until(f"the database of {n}", lambda n=n: value(m, n, "color") == {"hex": "ff0000"}, 20)
    refused(m, "c", "config", "set", "-e", "2", "color", "1", text="another version")
    refused(m, "c", "config", "set", "-e", "0", "color", "1", text="another version")
    ctl(m, "c", "config", "set", "-e", "1", "-w", "all", "color", '"blue"')
    ctl(m, "b", "config", "set", "-e", "0", "-w", "all", "color.of.b", "[1, 2]")
    assert [x["key"] for x in ctl_json(m, "a", "config", "get", "color*")] == ["color", "color.of.b"]
    ctl(m, "b", "config", "remove", "-w", "all", "color")
    history = ctl_json(m, "a", "config", "history", "color")
    assert [(x["version"], x["removed"]) for x in history] == [(3, True), (2, False), (1, False)], history
    assert not [x for x in ctl_json(m, "c", "config", "get") if x["key"] == "color" and not x["removed"]]
    for n in "abc":
        wait_until(f"the database of {n}", lambda n=n: value(m, n, "color") is None, 20)
    watch.close()


def count_up(m, node, key, times, errors):
    """Adds one to a number that others add to, too, as often as it takes."""
    try:
        with Api(m.node(node), local=True) as api:
            for _ in range(times):
                while True:
                    now = ctl_json(m, node, "config", "get", key)
                    try:
                        api.SetConfig(pb.ConfigEntry(key=key, value=str(now["value"] + 1),
                                                     expected_version=now["version"]), timeout=20)
                        break
                    except grpc.RpcError as e:
                        if e.code() not in (grpc.StatusCode.ABORTED, grpc.StatusCode.FAILED_PRECONDITION):
                            raise
    except Exception as e:  # shown by who waits
        errors.append(e)


def test_config_of_two_at_once(m):
    """The version that is expected keeps two nodes from taking each other's change back."""
    begun(m)
    ctl(m, "a", "config", "set", "-w", "all", "count", "0")
    errors, threads = [], []
    for n in "abc":
        threads.append(threading.Thread(target=count_up, args=(m, n, "count", 10, errors)))
    for t in threads:
        t.start()
    for t in threads:
        t.join(90)
    assert not errors, errors
    got = ctl_json(m, "b", "config", "get", "count")
    assert (got["value"], got["version"]) == (30, 31), got


# --- rows of databases ---

def rows(m, node, sql):
    return query(m.node(node), sql)


def everywhere(m, sql, expected, names="abc", seconds=30):
    for n in names:
        try:
            wait_until(f"{sql} at {n}", lambda n=n: rows(m, n, sql) == expected, seconds)
        except AssertionError as e:
            raise AssertionError(f"{e}: {rows(m, n, sql)}, expected {expected}") from None


def db(m, node, table, operation, key=None, row=None, *options):
    return ctl(m, node, "--timeout", "40s", "update", "db", table, operation, *(("-k", json.dumps(key)) if key else ()),
               *(("-r", json.dumps(row)) if row else ()), *options)


def test_rows(m):
    begun(m)
    db(m, "a", "stock", "insert", {"item": "nut"}, {"amount": 5}, "-w", "all")
    db(m, "b", "stock", "insert", None, {"item": "bolt", "amount": 6, "note": "it's"}, "-w", "all")
    stock = "SELECT item, amount, note FROM public.stock ORDER BY item"
    for n in "abc":
        assert rows(m, n, stock) == [("bolt", 6, "it's"), ("nut", 5, None)]
    db(m, "c", "stock", "update", {"item": "nut"}, {"amount": 7})
    db(m, "c", "stock", "upsert", {"item": "screw"}, {"amount": 1})
    db(m, "c", "stock", "upsert", {"item": "bolt"}, {"amount": 0})
    db(m, "a", "stock", "delete", {"item": "screw"}, None, "-w", "all")
    everywhere(m, stock, [("bolt", 0, "it's"), ("nut", 7, None)])
    for n in "abc":
        change(m, n, "DELETE FROM public.stock")


def test_a_row_that_can_not_be_applied(m):
    """It becomes a dead letter at that node, those after it wait there, and go on when it was mended."""
    begun(m)
    watch = Watch(m, "b")
    change(m, "b", "ALTER TABLE public.stock ADD CONSTRAINT small CHECK (amount < 100)")
    db(m, "a", "stock", "insert", {"item": "crate"}, {"amount": 500})
    db(m, "a", "stock", "insert", {"item": "box"}, {"amount": 1})
    want = [("box",), ("crate",)]
    everywhere(m, "SELECT item FROM public.stock ORDER BY item", want, "ac")
    letter = wait_until("a dead letter", lambda: ctl_json(m, "b", "letters"), 30)[0]
    assert letter["table"] == "stock" and letter["blocking"] and "small" in letter["error"], letter
    watch.wait("update_failed")
    assert rows(m, "b", "SELECT item FROM public.stock") == []
    assert not ctl_json(m, "a", "letters")
    refused(m, "a", "update", "db", "stock", "insert", "-r", '{"item": "late"}', "-w", "all", "--timeout", "2s",
            text="committed", code=10)
    m.restart("b", "consensusd")
    assert ctl_json(m, "b", "letters")[0]["position"] == letter["position"]
    change(m, "b", "ALTER TABLE public.stock DROP CONSTRAINT small")
    ctl(m, "b", "letters", "retry")
    everywhere(m, "SELECT item FROM public.stock ORDER BY item", [*want, ("late",)])
    assert not ctl_json(m, "b", "letters")
    watch.close()
    for n in "abc":
        change(m, n, "DELETE FROM public.stock")


def test_a_row_that_is_skipped(m):
    begun(m)
    add_to_config(m, "b", "\n\tdb-on-error skip")
    change(m, "b", "ALTER TABLE public.stock ADD CONSTRAINT small CHECK (amount < 100)")
    db(m, "c", "stock", "insert", {"item": "crate"}, {"amount": 500})
    db(m, "c", "stock", "insert", {"item": "box"}, {"amount": 1})
    everywhere(m, "SELECT item FROM public.stock ORDER BY item", [("box",), ("crate",)], "ac")
    everywhere(m, "SELECT item FROM public.stock", [("box",)], "b")
    letter = ctl_json(m, "b", "letters")[0]
    assert not letter["blocking"]
    ctl(m, "b", "letters", "discard", str(letter["position"]))
    assert not ctl_json(m, "b", "letters")
    change(m, "b", "ALTER TABLE public.stock DROP CONSTRAINT small")
    add_to_config(m, "b", "", "\n\tdb-on-error skip")
    for n in "abc":
        change(m, n, "DELETE FROM public.stock")


class Rows(threading.Thread):
    """Inserts numbered rows from a node, each with its id until it is committed."""

    def __init__(self, m, node, count):
        super().__init__(daemon=True)
        self.m, self.node, self.count, self.done, self.error = m, node, count, 0, None

    def send(self, api, u):
        end = time.monotonic() + 90
        while True:
            try:
                if api.SendInternalDBUpdate(u, timeout=15).committed:
                    return
            except grpc.RpcError as e:
                if e.code() not in (*RETRIED, grpc.StatusCode.DEADLINE_EXCEEDED) or time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def run(self):
        try:
            with Api(self.m.node(self.node), local=True) as api:
                for i in range(self.count):
                    self.send(api, pb.DBUpdate(update_id=ulid(), table="trail", operation="insert",
                                               row=json.dumps({"who": self.node, "n": i})))
                    self.done += 1
        except Exception as e:  # shown by who waits
            self.error = e


def test_rows_come_once(m):
    """While consensusd and PostgreSQL are killed, and a node is away: each row once, in the order of its sender."""
    begun(m)
    rng, count = random.Random(), 400 if LONG else 120
    senders = [Rows(m, n, count) for n in "abc"]
    for s in senders:
        s.start()

    def at(share):
        for s in senders:
            if s.error is not None:
                raise s.error
        return sum(s.done for s in senders) >= share * count * 3

    for i in range(8):
        wait_until(f"{i} of 10 of the rows", lambda i=i: at(i / 10), 120)
        node, part = rng.choice("abc"), rng.choice(("consensusd", "consensusd", "postgres"))
        m.kill(node, part)
        m.start(node, part)
    wait_until("the rows", lambda: at(1), 120)
    m.wait_ready()
    mark(m, "a")
    everywhere(m, "SELECT who, count(*), count(DISTINCT n) FROM public.trail GROUP BY who ORDER BY who",
               [(n, count, count) for n in "abc"])
    first = rows(m, "a", "SELECT who, n FROM public.trail ORDER BY ctid")
    for n in "abc":
        assert rows(m, n, "SELECT who, n FROM public.trail ORDER BY ctid") == first, f"another order at {n}"
    for n in "abc":
        assert [x for who, x in first if who == n] == list(range(count))


def test_rows_for_a_node_that_was_away(m):
    begun(m)
    away(m, "c")
    for i in range(20):
        db(m, "ab"[i % 2], "trail", "insert", None, {"who": "away", "n": i})
    back(m, "c")
    m.wait_ready()
    everywhere(m, "SELECT n FROM public.trail WHERE who = 'away' ORDER BY n", [(i,) for i in range(20)])


# --- followers ---

def test_followers(m):
    """A name's position is kept at its node, also when that starts anew; types choose; without a name from now on."""
    begun(m)
    positions = []
    for i in range(6):
        out = ctl_json(m, "a", "update", "mesh", "even" if i % 2 == 0 else "odd", f"text {i}", "-w", "all")
        positions.append(out["index"])

    def read(*options):
        return [json.loads(x) for x in ctl(m, "b", "-j", "update", "follow", "mesh", *options).splitlines()]

    after = str(positions[0] - 1)
    assert [x["payload"] for x in read("--from", after, "-n", "3", "-t", "odd")] == ["text 1", "text 3", "text 5"]
    assert [x["payload"] for x in read("--subscriber", "me", "--from", after, "-n", "2")] == ["text 0", "text 1"]
    m.kill("b", "consensusd")
    m.start("b", "consensusd")
    m.wait_ready()
    soon(m, "b", "-j", "raft")
    assert [x["payload"] for x in read("--subscriber", "me", "-n", "2")] == ["text 2", "text 3"]
    m.kill("b", "all")
    m.start("b", "all")
    m.wait_ready()
    wait_until("b to be a member", lambda: raft(m, "b"))
    assert [x["payload"] for x in read("--subscriber", "me", "-n", "2")] == ["text 4", "text 5"]


# --- keys of tenants ---

def test_keys_of_a_tenant(m):
    """Nodes that a key is sealed to can talk, the relay between them has none; a new key in the middle loses nothing."""
    begun(m)
    expect(grpc.StatusCode.FAILED_PRECONDITION, open_stream, m.node("a"), "shared", ["c"])
    watch = Watch(m, "b")
    ctl(m, "b", "key", "rotate", "--tenant", "shared", "--node", "a", "--node", "c")
    watch.wait("key_rotated", tenant_id="shared")
    for n in "ac":
        wait_until(f"the key at {n}", lambda n=n: held(m, n), 30)
    assert not held(m, "b")
    expect(grpc.StatusCode.FAILED_PRECONDITION, open_stream, m.node("b"), "shared", ["c"])
    stream = open_stream(m.node("a"), "shared", ["c"]).stream_id
    sink, pub = Sink(m.node("c"), "shared", [stream], 200), Publisher(m.node("a"), stream, 3000)
    sink.start()
    pub.start()
    for share in (0.2, 0.5, 0.7):
        wait_until(f"{share:.0%} of the messages", lambda share=share: pub.confirmed >= 3000 * share or pub.error, 60)
        ctl(m, "ac"[share > 0.4], "key", "rotate", "--tenant", "shared")
    wait_all([pub], [sink])
    check_rows(m.node("a"), [m.node("c")], stream, 3000)
    sink.stop()
    versions = [k["version"] for k in ctl_json(m, "a", "key", "list") if k["tenant_id"] == "shared"]
    assert versions[-1] == 4, versions
    for n in "ac":
        m.restart(n, "consensusd", wait=False)
    m.wait_ready()
    wait_until("the key at a", lambda: held(m, "a") and held(m, "c"), 30)
    more = Publisher(m.node("a"), stream, 3100, first=3001)
    sink = Sink(m.node("c"), "shared", [stream], 200)
    sink.position[stream] = 3000
    sink.start()
    more.start()
    wait_all([more], [sink])
    sink.stop()
    watch.close()


def held(m, node, tenant="shared"):
    return [k for k in ctl_json(m, node, "key", "list") if k["tenant_id"] == tenant and k["held"]]


# --- what nodes say of themselves ---

def said_by(m, at, node, kind):
    """The newest value as SQL at a node has it: (payload, version)."""
    got = query(m.node(at), "SELECT payload, version FROM mesh.node_updates WHERE type = %s AND "
                "node_id = mesh.node_id(%s)", kind.encode(), m.node(node)["node_id"])
    return (bytes(got[0][0]).decode(), got[0][1]) if got else None


def test_updates_of_nodes(m):
    begun(m)
    out = ctl_json(m, "a", "update", "node", "load", "1", "-w", "all")
    assert len(out["applied_nodes"]) == 3 and not out["pending_nodes"], out
    for i in range(2, 6):
        ctl(m, "a", "update", "node", "load", str(i), "-w", "all")
    for n in "abc":
        assert said_by(m, n, "a", "load") == ("5", 5)
    away(m, "c")
    ctl(m, "a", "update", "node", "load", "6")
    ctl(m, "b", "update", "node", "load", "7")
    back(m, "c")
    m.wait_ready()
    wait_until("c to have heard",
               lambda: said_by(m, "c", "a", "load") == ("6", 6) and said_by(m, "c", "b", "load"), 60)
    for n in "abc":
        m.kill(n, "all")
    for n in "abc":
        m.start(n, "all")
    m.wait_ready(90)
    leader(m, "abc")
    seen = [json.loads(x) for x in ctl(m, "c", "-j", "update", "follow", "node", "--from", "0", "-n", "2", "-t",
                                       "load").splitlines()]
    assert sorted(x["payload"] for x in seen) == ["6", "7"], seen
    assert ctl_json(m, "a", "update", "node", "load", "8", "-w", "all")["index"] == 7
    ctl(m, "a", "update", "node", "--remove", "load", "-w", "all")
    for n in "abc":
        got = said_by(m, n, "a", "load")
        assert got is None or got[0] == "", got


# --- room ---

def test_room_for_updates():
    """While a member is away updates pile up to a limit; when all have them there is room again, for the largest, too."""
    with mesh(3, "full", settings=(*QUICK, "consensusd.updates-max=2MB"), tenants=[]) as m:
        found(m)
        away(m, "c")
        with Api(m.node("a"), local=True) as api:
            def send(size, **wait):
                return api.SendMeshUpdate(pb.MeshUpdate(type="blob", payload=os.urandom(size),
                                                        wait=pb.BroadcastWait(**wait)), timeout=60)

            expect(grpc.StatusCode.INVALID_ARGUMENT, send, (1 << 20) + 1)
            for _ in range(6):
                assert send(300_000).committed
            text = expect(grpc.StatusCode.RESOURCE_EXHAUSTED, send, 1 << 20)
            assert "updates-max" in text
            back(m, "c")
            m.wait_ready()

            def room():
                with contextlib.suppress(grpc.RpcError):
                    return send(1 << 20, mode="all", timeout_ms=40_000)

            for _ in range(3):
                assert not wait_until("room for another one", room).pending_nodes
