"""What becomes of the control group when leaders, nodes, databases and links die while updates flow: nothing that was
acknowledged is lost, nothing comes twice, and all nodes have it in the same order.

RAFT_SEED=N repeats a schedule (the machine's timing stays its own).
"""
import contextlib
import os
import random
import shutil

import psycopg2

import mesh_pb2 as pb
from api import Api
from devmeshlib import nodes, postgres
from groups import (QUICK, Senders, away, back, check_updates, ctl, found, has_logged, isolate, leader, mark, members,
                    raft, refused, ulid, voters, wait_members, wait_voters)
from harness import mesh, query, wait_until

# All linked with all; three of them vote.
MESH = {"count": 4, "shape": "full", "settings": (*QUICK, "consensusd.raft-log-entries=60")}
SEED = int(os.environ.get("RAFT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
LONG = bool(os.environ.get("TEST_LONG"))
ROUNDS = 20 if LONG else 6


def begun(m):
    if raft(m, "a") is None:
        found(m, options=("--voters", "3"), vote=3)
    wait_members(m, "abcd", "abcd")
    wait_voters(m, "a", 3)
    return leader(m, "abcd")


def test_leaders_are_killed(m):
    """Its consensusd, or all of the node with its database; it is back at once, or after another one was elected."""
    begun(m)
    rng = random.Random(SEED)
    print(f"  raft: RAFT_SEED={SEED}", flush=True)
    with Senders(m, "abcd") as senders:
        for _ in range(ROUNDS):
            senders.more(20)
            first, part = leader(m, "abcd"), rng.choice(("consensusd", "consensusd", "all"))
            m.kill(first, part)
            if rng.random() < 0.5:
                leader(m, [n for n in "abcd" if n != first])
            m.start(first, part)
        senders.more(20)
        sent = senders.finish()
        again = sum(s.again for s in senders.all)
    m.wait_ready()
    got = check_updates(m, sent)
    print(f"  raft: {len(sent)} updates acknowledged, {len(got)} there, {again} sent again", flush=True)


def test_databases_are_killed(m):
    """PostgreSQL of one voter after the other, then all of them at once."""
    begun(m)
    with Senders(m, "abcd") as senders:
        for n in [*sorted(voters(m, "a")), "abcd"]:
            senders.more(20)
            for x in n:
                m.kill(x, "postgres")
            for x in n:
                m.start(x, "postgres")
        senders.more(20)
        sent = senders.finish()
    m.wait_ready()
    check_updates(m, sent)


def test_a_voter_that_is_gone_is_replaced(m):
    begun(m)
    first = leader(m, "abcd")
    now = voters(m, first)
    gone = next(n for n in sorted(now) if n != first)
    spare = next(n for n in "abcd" if n not in now)
    away(m, gone)
    wait_voters(m, first, now - {gone} | {spare}, 90)
    back(m, gone)
    m.wait_ready()
    wait_members(m, "abcd", "abcd")
    mark(m, gone)
    wait_until("it to be a learner", lambda: raft(m, gone)["role"] in ("follower", "learner"), 30)
    assert gone not in voters(m, first)


def test_all_restart(m):
    """After the power was out everywhere the group is as it was."""
    begun(m)
    with Senders(m, "ac", count=30) as senders:
        sent = senders.finish()
    before = raft(m, "a")["commit_index"]
    for n in "abcd":
        m.kill(n, "all")
    for n in "abcd":
        m.start(n, "all")
    m.wait_ready(90)
    leader(m, "abcd")
    check_updates(m, sent)
    assert raft(m, "a")["commit_index"] > before


def send_many(m, node, count, window=64):
    """Sends so many small updates, a window of them at a time; ids and payloads."""
    sent, calls = [], []
    with Api(m.node(node), local=True) as api:
        for i in range(count):
            u = pb.MeshUpdate(update_id=ulid(), type="news", payload=f"{node} {i}".encode())
            sent.append((u.update_id, u.payload))
            calls.append(api.SendMeshUpdate.future(u, timeout=60))
            if len(calls) >= window:
                assert calls.pop(0).result().committed
        assert all(c.result().committed for c in calls)
    return sent


def test_a_node_away_gets_a_snapshot(m):
    """All that was said while it was away comes, in order, although the log has become shorter than that."""
    first = begun(m)
    gone = next(n for n in "abcd" if n not in voters(m, first))
    away(m, gone)
    sent = send_many(m, first, 10000)
    g = raft(m, first)
    assert g["first_index"] > members(m, first)[gone]["match_index"], "the log was not compacted"
    assert members(m, first)[gone]["lag"] >= len(sent), members(m, first)[gone]
    assert gone in ctl(m, first, "raft", "-v")
    back(m, gone)
    m.wait_ready()
    wait_members(m, "abcd", "abcd")
    check_updates(m, sent, ordered=False)
    assert 'mesh_raft_snapshots_total{kind="restored"} 0' not in ctl(m, gone, "metrics")


# --- what a database has forgotten ---

def data_of(m, node):
    return f"{m.node(node)['dir']}/data"


def copy_of(m, node, to):
    """A backup of the database as a file system's snapshot would make it: while the server is down."""
    stop_node(m, node)
    postgres.copy_template(data_of(m, node), to, nodes.mesh_user(m.state))


def stop_node(m, node):
    for part in reversed(nodes.DAEMONS):
        m.kill(node, part)
    m.kill(node, "postgres")


def put_back(m, node, copy):
    shutil.rmtree(data_of(m, node))
    os.rename(copy, data_of(m, node))


def starts_again(m, node):
    """It joins as a new learner by itself, and has everything; and becomes a voter again if it is wanted."""
    m.start(node)
    m.wait_ready()
    wait_until("it to be a member again", lambda: raft(m, node) and raft(m, node)["status"] == "ok", 60)
    mark(m, node)


def a_voter_but_the_leader(m):
    first = begun(m)
    return next(n for n in sorted(voters(m, first)) if n != first)


def replica(m, node):
    return members(m, node)[node]["replica_id"]


def test_a_restored_backup(m):
    """It is known by the witness that the database is older than what was promised."""
    node = a_voter_but_the_leader(m)
    was = replica(m, node)
    copy_of(m, node, f"{m.dir}/backup")
    m.start(node)
    m.wait_ready()
    mark(m, node)
    others = [n for n in "abcd" if n != node]
    sent = send_many(m, node, 30)
    sent += send_many(m, others[0], 30)
    mark(m, node)
    stop_node(m, node)
    put_back(m, node, f"{m.dir}/backup")
    starts_again(m, node)
    assert has_logged(m, node, "older than what this node has promised")
    assert replica(m, node) != was, "it is the replica that it was"
    check_updates(m, sent, ordered=False)
    wait_voters(m, leader(m, "abcd"), 3)


def test_an_empty_database(m):
    node = a_voter_but_the_leader(m)
    was = replica(m, node)
    stop_node(m, node)
    postgres.make_template(f"{m.dir}/empty", nodes.mesh_user(m.state))
    put_back(m, node, f"{m.dir}/empty")
    starts_again(m, node)
    assert has_logged(m, node, "not the database that this node's promises were written to")
    assert replica(m, node) != was
    check_updates(m, [])


def test_a_log_with_a_hole(m):
    """A row of the log that is gone is missed."""
    node = a_voter_but_the_leader(m)
    was = replica(m, node)
    send_many(m, node, 10)
    for part in reversed(nodes.DAEMONS):
        m.kill(node, part)
    low, high = query(m.node(node), "SELECT min(index), max(index) FROM mesh.raft_log")[0]
    change(m, node, f"DELETE FROM mesh.raft_log WHERE index = {(low + high) // 2}")
    starts_again(m, node)
    assert replica(m, node) != was
    check_updates(m, [])


def change(m, node, sql):
    with contextlib.closing(psycopg2.connect(m.node(node)["database"])) as db, db, db.cursor() as cursor:
        cursor.execute(sql)
        assert cursor.rowcount == 1, f"{sql}: {cursor.rowcount} rows"


# --- links ---

def test_the_leader_is_cut_off():
    """Five nodes: four go on with another leader; the one that led before refuses at once, then has what it missed."""
    with mesh(5, "full", settings=(*QUICK, "consensusd.voter-gone=60s")) as m:
        found(m, vote=5)
        with Senders(m, "abcde") as senders:
            for _ in range(2):
                senders.more(20)
                first = leader(m, "abcde")
                others = [n for n in "abcde" if n != first]
                isolate(m, [first])
                second = leader(m, others)
                assert second != first
                wait_until("it to know no leader", lambda: raft(m, first)["status"] != "ok", 30)
                refused(m, first, "update", "mesh", "news", "alone", text="no leader", code=9)
                before = sum(len(s.done) for s in senders.all if s.node != first)
                wait_until("updates of the others", lambda: sum(len(s.done) for s in senders.all if s.node != first)
                           > before + 20, 60)
                isolate(m, [first], "heal")
                leader(m, "abcde")
            sent = senders.finish()
        m.wait_ready()
        got = check_updates(m, sent)
        assert b"alone" not in [payload for _, _, payload in got], "what was refused was done all the same"


def test_no_majority():
    """Three of five that are cut off from each other decide nothing; then all is as before."""
    with mesh(5, "full", settings=(*QUICK, "consensusd.voter-gone=60s")) as m:
        found(m, vote=5)
        isolate(m, "ab")
        isolate(m, "c")
        for n in "abcde":
            wait_until(f"{n} to know no leader", lambda n=n: raft(m, n)["status"] != "ok", 30)
            refused(m, n, "update", "mesh", "news", n, text="no leader", code=9)
        for lk in m.state["links"]:
            m.heal(lk["a"], lk["b"])
        leader(m, "abcde")
        assert len(check_updates(m, [])) == 1
