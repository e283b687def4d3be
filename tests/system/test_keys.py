"""Keys of tenants are rotated while messages wait: all come, in order and once, whatever the group still keeps."""
import time

from api import open_stream
from flow import Publisher, Sink, payload
from groups import QUICK, away, back, ctl, ctl_json, found, raft, said
from harness import query, wait_until
from test_handlers import Reader, letters

MESH = {"count": 3, "shape": "full", "settings": (*QUICK, "consensusd.raft-log-entries=16")}
EACH, ROTATIONS, ENTRIES = 20, 3, 40


def begun(m):
    """All are members, and may have the tenant's key."""
    if raft(m, "a") is None:
        found(m, vote=3)
    if not versions(m, "a"):
        ctl(m, "a", "key", "rotate", "-t", "acme", "-n", "a", "-n", "b", "-n", "c")
    held(m, "abc")


def versions(m, at):
    return [k["version"] for k in ctl_json(m, at, "key", "list") if k["tenant_id"] == "acme"]


def held(m, names):
    newest = max(versions(m, names[0]))
    for n in names:
        wait_until(f"{n} to have version {newest}", lambda n=n: [
            k for k in ctl_json(m, n, "key", "list") if k["tenant_id"] == "acme" and k["version"] == newest and k["held"]])


def rotate(m, names):
    ctl(m, "a", "key", "rotate", "-t", "acme")
    held(m, names)


def opened(m, **extra):
    return open_stream(m.node("a"), "acme", ["c"], ack="accepted", **extra).stream_id


def publish(m, stream, first):
    """As many as one version of the key has; they are durable at the source then."""
    p = Publisher(m.node("a"), stream, first + EACH - 1, first=first)
    p.start()
    wait_until("messages to be accepted", lambda: p.confirmed == first + EACH - 1 or p.error)
    assert p.error is None, p.error


def publish_and_rotate(m, stream, names, first=1):
    for i in range(ROTATIONS):
        publish(m, stream, first + i * EACH)
        rotate(m, names)
    publish(m, stream, first + ROTATIONS * EACH)
    return first - 1 + (ROTATIONS + 1) * EACH


def gets(m, stream, count, had=0):
    """All of them, and none twice."""
    sink = Sink(m.node("c"), "acme", [stream])
    if had:
        sink.position[stream] = had
    sink.start()
    wait_until("the messages", lambda: sink.got(stream) == count or sink.error, 90)
    time.sleep(1)
    sink.stop()
    assert sink.error is None and sink.got(stream) == count, (sink.error, sink.got(stream))
    assert len(set(sink.message_ids[stream])) == count - had


def key_ids(m, node, table, stream):
    return {bytes(r[0]) for r in query(m.node(node), f"SELECT DISTINCT key_id FROM mesh.{table}"
                                       " WHERE mesh.ulid_text(stream_id) = %s", stream)}


def test_target_away(m):
    begun(m)
    stream = opened(m)
    publish(m, stream, 1)
    gets(m, stream, EACH)
    away(m, "c")
    last = publish_and_rotate(m, stream, "ab", EACH + 1)
    assert len(key_ids(m, "a", "outbox", stream)) == ROTATIONS + 1
    assert len(versions(m, "a")) == 2
    # What it has missed of the group's log is cut: it hears of the two newest versions alone.
    for i in range(ENTRIES):
        ctl(m, "a", "config", "set", "test.keys", str(i))
    # The source starts anew, too, and then has what it needs from its database alone.
    m.restart("a", "consensusd")
    wait_until("a to be back", lambda: said(m, "a", "key", "list").code == 0)
    back(m, "c")
    m.wait_ready(90)
    gets(m, stream, last, had=EACH)


def test_inbox(m):
    """What a target has and nobody took is read after the rotations and a restart."""
    begun(m)
    stream = opened(m)
    last = publish_and_rotate(m, stream, "abc")
    wait_until("the inbox", lambda: query(m.node("c"), "SELECT max(last_seq) FROM mesh.inbox"
                                          " WHERE mesh.ulid_text(stream_id) = %s", stream) == [(last,)])
    for _ in range(2):
        rotate(m, "abc")
    assert len(key_ids(m, "c", "inbox", stream)) == ROTATIONS + 1
    m.restart("c", "consensusd")
    wait_until("c to be back", lambda: said(m, "c", "key", "list").code == 0)
    gets(m, stream, last)


def test_dead_letters(m):
    """They are delivered once more when the group has none of their keys any more."""
    begun(m)
    stream = opened(m, max_attempts=1)
    with Reader(m.node("c"), [stream]) as r:
        for i in range(ROTATIONS):
            publish_one(m, stream, i + 1)
            r.nack(r.next(), reason="no")
            wait_until("the letter", lambda i=i: len(letters(m.node("c"), stream)) == i + 1)
            rotate(m, "abc")
    for _ in range(2):
        rotate(m, "abc")
    assert len(key_ids(m, "c", "stream_dead_letters", stream)) == ROTATIONS
    m.restart("c", "consensusd")
    wait_until("c to be back", lambda: said(m, "c", "key", "list").code == 0)
    ctl(m, "c", "dead-letter", "replay", stream, "--all")
    with Reader(m.node("c"), [stream]) as r:
        for i in range(ROTATIONS):
            got = r.next()
            assert got.dead_letter and got.seq == i + 1 and got.payload == payload(stream, i + 1), got
            r.ack(got)
        wait_until("the letters to be gone", lambda: not letters(m.node("c"), stream))


def publish_one(m, stream, seq):
    p = Publisher(m.node("a"), stream, seq, first=seq)
    p.start()
    wait_until("the message to be accepted", lambda: p.confirmed == seq or p.error)
    assert p.error is None, p.error
