"""Streams whose messages the targets' databases take themselves: each once, whatever dies; what may be written."""
import contextlib
import json
import random
import subprocess
import tempfile

import grpc
import psycopg2

import mesh_pb2 as pb
from api import Api, expect, open_stream
from harness import query, wait_until
from rowload import TALLY_CONF, TALLY_SQL, Updates, change, check_tally, configure, tables, tally, update

MESH = {"count": 3, "tenants": ["acme", "other"]}
TABLES = """
	db-table stock {
		key item
		columns amount
		operations insert update upsert delete
		stream-tenants acme
	}
	db-table closed {
		columns n
		operations insert
	}
	db-table theirs {
		columns n
		operations insert
		stream-tenants other
	}
"""
SCHEMA = ("CREATE TABLE public.stock (item text PRIMARY KEY, amount bigint CHECK (amount >= 0), changes bigint DEFAULT 0)",
          "CREATE FUNCTION public.changed() RETURNS trigger LANGUAGE plpgsql AS"
          " $$ BEGIN NEW.changes = OLD.changes + 1; RETURN NEW; END $$",
          "CREATE TRIGGER changed BEFORE UPDATE ON public.stock FOR EACH ROW EXECUTE FUNCTION public.changed()",
          "CREATE TABLE public.closed (n bigint)", "CREATE TABLE public.theirs (n bigint)")


def begun(m):
    """b and c have tables, a has none."""
    for n in "bc":
        if query(m.node(n), "SELECT 1 FROM pg_tables WHERE tablename = 'tally'"):
            continue
        tables(m, n, TALLY_CONF + TABLES, (TALLY_SQL, *SCHEMA))


def opened(m, targets, **extra):
    return open_stream(m.node("a"), extra.pop("tenant", "acme"), list(targets), handler="db", **extra).stream_id


def refused(m, source, target, tenant):
    """What a publish on such a stream is answered.  It stays in the outbox: the target may change its mind."""
    stream = open_stream(m.node(source), tenant, [target], handler="db").stream_id
    chunk = pb.Chunk(stream_id=stream, payload=update("theirs", "insert", None, {"n": 0}))
    with Api(m.node(source)) as api:
        return expect(grpc.StatusCode.FAILED_PRECONDITION, api.PublishClientData, chunk, timeout=30)


def send(m, stream, updates, first=1):
    p = Updates(m, stream, first + len(updates) - 1, lambda seq: updates[seq - first], first=first,
                dead_letters=True)
    p.start()
    return p


def confirmed(p, count):
    wait_until(f"{count} confirmations", lambda: p.confirmed >= count or p.error, 120)
    assert p.error is None, p.error


def metric(node, name):
    with Api(node) as api:
        text = api.GetMetrics(pb.Empty(), timeout=20).text
    return sum(float(x.rsplit(" ", 1)[1]) for x in text.splitlines() if x.startswith((name + " ", name + "{")))


def letters(node, stream):
    return query(node, "SELECT seq, attempts, error FROM stream_dead_letters WHERE mesh.ulid_text(stream_id) = %s"
                 " ORDER BY seq", stream)


def position(node, stream):
    rows = query(node, "SELECT position FROM handler_positions WHERE handler = %s", f"stream:{stream}")
    return rows[0][0] if rows else None


def ctl(m, node, *argv):
    p = subprocess.run([f"{m.state['bin']}/meshctl", "-s", m.node(node)["control_socket"], *argv], text=True,
                       capture_output=True, timeout=90)
    assert p.returncode == 0, p.stderr
    return p.stdout


def test_rows(m):
    """Two targets; their own order; nobody else may take the messages, or say that they are processed."""
    begun(m)
    stream = opened(m, "bc")
    before = [metric(m.node(n), "mesh_stream_db_applied_messages_total") for n in "bc"]
    p = send(m, stream, [update("stock", "insert", {"item": "nut"}, {"amount": 5}),
                         update("stock", "upsert", {"item": "nut"}, {"amount": 6}),
                         update("stock", "update", {"item": "nut"}, {"amount": 7}),
                         update("stock", "insert", None, {"item": "bolt", "amount": 1}),
                         update("stock", "delete", {"item": "bolt"})])
    confirmed(p, 5)
    for i, n in enumerate("bc"):
        assert query(m.node(n), "SELECT item, amount, changes FROM public.stock") == [("nut", 7, 2)]
        assert position(m.node(n), stream) == 5
        assert metric(m.node(n), "mesh_stream_db_applied_messages_total") == before[i] + 5
        log = query(m.node(n), "SELECT seq, state::text FROM delivery_log_messages WHERE stream_id = %s ORDER BY seq", stream)
        assert log == [(i, "done") for i in range(1, 6)]
    with Api(m.node("c")) as api:
        expect(grpc.StatusCode.FAILED_PRECONDITION, api.Ack, pb.StreamAck(stream_id=stream, seq=5), timeout=20)
        expect(grpc.StatusCode.FAILED_PRECONDITION, api.Nack, pb.StreamNack(stream_id=stream, seq=5), timeout=20)
        call = api.SubscribeClientData(iter([pb.StreamSelector(tenant_id="acme", stream_ids=[stream])]))
        expect(grpc.StatusCode.FAILED_PRECONDITION, next, call)
    with Api(m.node("a")) as api:
        api.CloseClientDataStream(pb.StreamHandle(stream_id=stream), timeout=20)
    for n in "bc":
        wait_until(f"the position at {n} to go", lambda n=n: position(m.node(n), stream) is None)
        change(m, n, "DELETE FROM public.stock")


def test_once(m):
    """While consensusd and PostgreSQL of the targets are killed: each row once, in order."""
    begun(m)
    rng, count = random.Random(), 3000
    streams = [opened(m, t) for t in ("bc", "c")]
    senders = [Updates(m, s, count, lambda seq, s=s: update("tally", "insert", {"stream": s, "n": seq})) for s in streams]
    for p in senders:
        p.start()

    def at(share):
        for p in senders:
            if p.error is not None:
                raise p.error
        return sum(p.confirmed for p in senders) >= share * count * len(senders)

    for i in range(10):
        wait_until(f"{i} of 11 of the rows", lambda i=i: at(i / 11), 180)
        node, part = rng.choice("bcc"), rng.choice(("consensusd", "postgres"))
        m.kill(node, part)
        m.start(node, part)
    wait_until("the rows", lambda: at(1), 180)
    m.wait_ready()
    check_tally(m, "b", streams[0], count)
    assert tally(m, "b", streams[1]) == []
    for s in streams:
        check_tally(m, "c", s, count)
        assert letters(m.node("c"), s) == []


def test_what_may_not_be_written(m):
    """It becomes a dead letter that says why, by the stream's policy, and what is behind it goes on."""
    begun(m)
    c = m.node("c")
    stream = opened(m, "c", max_attempts=2, retry_ms=20)
    before = metric(c, "mesh_stream_db_failed_total")
    p = send(m, stream, [update("tally", "insert", {"stream": stream, "n": 1}),
                         update("closed", "insert", {"n": 1}),
                         update("theirs", "insert", {"n": 1}),
                         update("pg_authid", "delete", {"n": 1}),
                         b"\xff\xff\xff",
                         update("tally", "update", {"stream": stream, "n": 1}, {"who": "x"}),
                         update("stock", "insert", {"item": "crate"}, {"amount": -1}),
                         update("tally", "insert", {"stream": stream, "n": 8})])
    confirmed(p, 8)
    assert tally(m, "c", stream) == [1, 8]
    got = letters(c, stream)
    assert [x[:2] for x in got] == [(n, 2) for n in range(2, 8)]
    for (_, _, error), words in zip(got, ("not open to streams of tenant acme", "not open to streams of tenant acme",
                                          '"pg_authid" is not allowed', "no DBUpdate", "update of table tally is not allowed",
                                          "stock_amount_check")):
        assert words in error, (error, words)
    assert metric(c, "mesh_stream_db_failed_total") == before + 12
    log = query(c, "SELECT state::text FROM delivery_log_messages WHERE stream_id = %s ORDER BY seq", stream)
    assert [x[0] for x in log] == ["done"] + ["failed"] * 6 + ["done"]
    # The operator mends what was wrong, and has the letters tried once more.
    change(m, "c", "ALTER TABLE public.stock DROP CONSTRAINT stock_amount_check")
    ctl(m, "c", "dead-letter", "replay", stream, "--all")
    wait_until("the letters to be tried", lambda: [x[:2] for x in letters(c, stream)] == [(n, 3) for n in range(2, 7)])
    assert query(c, "SELECT item, amount FROM public.stock") == [("crate", -1)]
    log = query(c, "SELECT state::text FROM delivery_log_messages WHERE stream_id = %s AND seq = 7", stream)
    assert log == [("done",)]
    ctl(m, "c", "dead-letter", "discard", stream, "--all")
    change(m, "c", "DELETE FROM public.stock", "ALTER TABLE public.stock ADD CHECK (amount >= 0)")


def test_who_may_write(m):
    """A target takes only streams of tenants that its operator named, at any table."""
    begun(m)
    assert "no table that streams of tenant acme may write to" in refused(m, "c", "a", "acme")
    stream = opened(m, "b", tenant="other", retry_ms=300_000)
    confirmed(send(m, stream, [update("theirs", "insert", None, {"n": 1})]), 1)
    configure(m, "b", "stream-tenants other", "stream-tenants acme")
    assert "streams of tenant other" in refused(m, "a", "b", "other")
    # It is open already: what comes waits, until somebody changes his mind, and is tried at once then.
    p = send(m, stream, [update("theirs", "insert", None, {"n": 2})], first=2)
    wait_until("the attempt", lambda: query(m.node("b"), "SELECT error FROM stream_attempts"
                                            " WHERE mesh.ulid_text(stream_id) = %s", stream))
    configure(m, "b", "columns n\n\t\toperations insert\n\t\tstream-tenants acme",
              "columns n\n\t\toperations insert\n\t\tstream-tenants other")
    confirmed(p, 2)
    assert query(m.node("b"), "SELECT n FROM public.theirs WHERE n > 0 ORDER BY n") == [(1,), (2,)]
    expect(grpc.StatusCode.INVALID_ARGUMENT, open_stream, m.node("a"), "acme", ["c"], handler="dbx")


def test_trouble_that_is_not_theirs(m):
    """A lock, or a failure that the policy would count: the stream waits as long as it takes, and others go on."""
    begun(m)
    stream, other = (opened(m, "c", max_attempts=1) for _ in range(2))
    change(m, "c", "INSERT INTO public.stock VALUES ('held', 1)")
    configure(m, "c", "consensusd {", "consensusd {\n\tdb-timeout 400ms")
    before = metric(m.node("c"), "mesh_stream_db_retried_total")
    with contextlib.closing(psycopg2.connect(m.node("c")["database"])) as db, db.cursor() as cursor:
        cursor.execute("SELECT * FROM public.stock WHERE item = 'held' FOR UPDATE")
        p = send(m, stream, [update("stock", "update", {"item": "held"}, {"amount": 2})])
        q = send(m, other, [update("tally", "insert", {"stream": other, "n": n}) for n in range(1, 51)])
        confirmed(q, 50)
        wait_until("many attempts", lambda: metric(m.node("c"), "mesh_stream_db_retried_total") >= before + 6)
        assert p.confirmed == 0
    confirmed(p, 1)
    assert query(m.node("c"), "SELECT amount, changes FROM public.stock WHERE item = 'held'") == [(2, 1)]
    assert letters(m.node("c"), stream) == []


def test_meshctl(m):
    """Rows from the command line and from a file, as they are typed."""
    begun(m)
    stream = json.loads(ctl(m, "a", "-j", "open", "-t", "acme", "--to", "b", "--handler", "db", "--max-attempts", "1"))["stream_id"]
    on = ("publish", "--stream", stream, "--db", "stock")
    ctl(m, "a", *on, '{"item": "nut", "amount": 9007199254740993}', '{"item": "bolt", "amount": 1}', '{"item": "nail"}')
    ctl(m, "a", *on, "--operation", "update", "-k", '{"item": "bolt"}', '{"amount": 2}')
    ctl(m, "a", *on, "--operation", "delete", '{"item": "nail"}')
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        f.writelines(f'{{"item": "{n}", "amount": {n}}}\n' for n in range(100))
        f.flush()
        ctl(m, "a", *on, "--operation", "insert", "-f", f.name)
    rows = query(m.node("b"), "SELECT item, amount FROM public.stock")
    assert sorted(rows) == sorted([("nut", 9007199254740993), ("bolt", 2), *((str(n), n) for n in range(100))])
    for bad in (("publish", "--stream", stream, "--operation", "insert", "{}"), (*on, "[1]"), (*on, "{"), (*on, "-n", "3"),
                (*on, "--operation", "delete", "-k", "{}", "{}"), (*on, "-k", "1", "{}")):
        p = subprocess.run([f"{m.state['bin']}/meshctl", "-s", m.node("a")["control_socket"], *bad], capture_output=True,
                           text=True, timeout=60)
        assert p.returncode != 0 and p.stderr, bad
    assert letters(m.node("b"), stream) == []
    change(m, "b", "DELETE FROM public.stock")


def test_paused(m):
    begun(m)
    stream = opened(m, "c")
    ctl(m, "c", "stream", "pause", stream)
    p = send(m, stream, [update("tally", "insert", {"stream": stream, "n": n}) for n in range(1, 11)])
    other = opened(m, "c")
    confirmed(send(m, other, [update("tally", "insert", {"stream": other, "n": 1})]), 1)
    assert tally(m, "c", stream) == [] and p.confirmed == 0
    ctl(m, "c", "stream", "resume", stream)
    confirmed(p, 10)
    check_tally(m, "c", stream, 10)
