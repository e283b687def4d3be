"""A node that is evicted is locked out everywhere, at once and for good, until it is readmitted; the key of the mesh
that it had is replaced, and what it said of itself is forgotten."""
import api
from groups import (QUICK, Watch, check_updates, ctl, ctl_json, found, leader, mark, members, raft, refused, said, soon,
                    wait_members)
from harness import Flow, query, wait_until

MESH = {"count": 4, "shape": "full", "settings": QUICK}


def begun(m):
    if raft(m, "a") is None:
        found(m, vote=3)
    for n in "abcd":
        if raft(m, n) is None:
            soon(m, n, "join")
    wait_members(m, "abcd", "abcd")
    return leader(m, "abcd")


def statuses(m, at):
    return {x["node_name"]: x["status"] for x in ctl_json(m, at, "nodes", "--status", "any")}


def links_of(m, at):
    return {x["target_name"] for x in ctl_json(m, at, "links") if x["source_name"] == at and x["status"] == "up"}


def keys(m, at, tenant=""):
    return [k for k in ctl_json(m, at, "key", "list") if k["tenant_id"] == tenant]


def locked_out(m, node, others, known=True):
    """known: these nodes have known it since they were started."""
    for n in others:
        wait_until(f"{node} to be evicted at {n}",
                   lambda n=n: statuses(m, n).get(node) == ("evicted" if known else None), 30)
        wait_until(f"{n} to have no link to {node}", lambda n=n: node not in links_of(m, n), 30)


def test_evict_and_readmit(m):
    begun(m)
    node = m.node("d")["node_id"]
    watch = Watch(m, "a")
    was = keys(m, "a")[-1]
    assert node in was["node_ids"]
    refused(m, "a", "evict", "nobody", text="")
    ctl(m, "b", "evict", "d", "-r", "stolen")
    watch.wait("member_evicted", node_name="d", reason="stolen")
    locked_out(m, "d", "abc")
    wait_members(m, "abc", "abc")
    assert members(m, "a")["d"]["reason"] == "stolen"
    # The mesh has another key, that d has not.
    watch.wait("key_rotated", tenant_id="")
    now = wait_until("another key", lambda: keys(m, "c")[-1] if keys(m, "c")[-1]["version"] > was["version"] else None)
    assert node not in now["node_ids"] and len(now["node_ids"]) == 3, now
    watch.close()
    # It can't come back by itself, not even with all daemons new everywhere.
    for n in "abcd":
        m.restart(n, "all", wait=False)
    leader(m, "abc", 90)
    locked_out(m, "d", "abc", known=False)
    assert all(members(m, n)["d"]["status"] == "evicted" for n in "abc")
    refused(m, "d", "join", text="")
    refused(m, "d", "update", "mesh", "news", "x", text="")
    ctl(m, "a", "readmit", "d")
    soon(m, "d", "join")
    m.wait_ready(90)
    wait_members(m, "abcd", "abcd")
    wait_until("d to have the mesh's key", lambda: [k for k in keys(m, "d") if k["held"]], 30)
    ctl(m, "d", "update", "mesh", "news", "back", "-w", "all", "--timeout", "30s")
    check_updates(m, [])


def test_the_leader_is_evicted(m):
    first = begun(m)
    others = [n for n in "abcd" if n != first]
    ctl(m, others[0], "evict", first)
    locked_out(m, first, others)
    assert leader(m, others) != first
    ctl(m, others[1], "readmit", first)
    soon(m, first, "join")
    m.wait_ready(90)
    wait_members(m, "abcd", "abcd")
    mark(m, first)


def test_updates_of_an_evicted_node(m):
    """What it said is gone with it."""
    begun(m)
    ctl(m, "d", "update", "node", "load", "5", "-w", "all", "--timeout", "30s")
    ctl(m, "c", "update", "node", "load", "7", "-w", "all", "--timeout", "30s")

    assert rows(m, "a") == {m.node(n)["node_id"] for n in "cd"}
    ctl(m, "a", "evict", "d")
    locked_out(m, "d", "abc")
    for n in "abc":
        try:
            wait_until(f"it to be forgotten by {n}", lambda n=n: rows(m, n) == {m.node("c")["node_id"]}, 30)
        except AssertionError as e:
            raise AssertionError(f"{e}: {rows(m, n)}") from None
    ctl(m, "a", "readmit", "d")
    soon(m, "d", "join")
    m.wait_ready(90)
    wait_members(m, "abcd", "abcd")
    wait_until("it to be told again", lambda: m.node("d")["node_id"] in rows(m, "a"), 60)


def rows(m, at):
    """Of which nodes it has a value of this type."""
    return {r[0] for r in query(m.node(at), "SELECT node_text(node_id) FROM mesh.node_updates WHERE type = 'load'")}


def test_streams_of_an_evicted_node(m):
    """A target that is evicted is waited for no more; a stream with no other target ends, and so do the streams that
    came from it."""
    begun(m)
    rest, whole = Flow(m, "a", "cd", 400), api.open_stream(m.node("a"), "acme", ["d"]).stream_id
    theirs = Flow(m, "d", "a", 20)
    with theirs:
        theirs.finish()
    with rest:
        rest.wait_share(0.25)
        ctl(m, "b", "evict", "d")
        locked_out(m, "d", "abc")
        # All there are have processed it: those who still belong to it.
        wait_until("the rest to be confirmed", lambda: rest.publisher.confirmed >= rest.count, 60)
        assert rest.sinks[0].error is None and rest.publisher.error is None
    info = {s["stream_id"]: s for s in ctl_json(m, "a", "streams")}
    assert {t["state"] for t in info[rest.stream]["targets"]} == {"open", "gone"}, info[rest.stream]
    for stream in (whole, theirs.stream):
        wait_until("a stream to end", lambda s=stream: s not in {x["stream_id"] for x in ctl_json(m, "a", "streams")}, 30)
    # So it is after a restart too.
    m.restart("a", "consensusd", wait=False)
    again = wait_until("the stream", lambda: said(m, "a", "streams").code == 0 and [
        x for x in ctl_json(m, "a", "streams") if x["stream_id"] == rest.stream], 60)
    assert [t["node_id"] for t in again[0]["targets"]] == [m.node("c")["node_id"]], again
    wait_until("its group without it",
               lambda: {g["group_type"]: len(g["members"]) for g in ctl_json(m, "a", "raft")}.get("DSG") == 2, 60)
