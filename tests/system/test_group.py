"""The mesh control group as operators meet it: begun once, joined with and without tokens, left, handed over."""
import base64
import time

from groups import (QUICK, Senders, Watch, away, back, check_updates, ctl, ctl_json, found, leader, mark, members, raft,
                    refused, soon, wait_members, wait_voters)
from harness import wait_until

MESH = {"count": 3, "settings": QUICK}


def begun(m):
    """All three are members, whatever was before."""
    if not any(raft(m, n) for n in "abc"):
        found(m)
    for n in "abc":
        if raft(m, n) is None:
            ctl(m, n, "join")
    wait_members(m, "abc", "abc")


def leave(m, node):
    """It leaves, says goodbye, and has links again when its routerd is another one."""
    ctl(m, node, "leave")
    assert raft(m, node) is None
    m.restart(node, "routerd")


def test_seed(m):
    """Once per mesh: not twice, not at two nodes, not while somebody who may know better can't be asked."""
    refused(m, "b", "join", text="is a member of a control group", code=5)
    refused(m, "a", "update", "mesh", "news", "x", text="")
    away(m, "c")
    wait_until("c to be missed", lambda: {x["status"] for x in ctl_json(m, "a", "nodes")} != {"alive"}, 30)
    refused(m, "a", "seed", text="force")
    back(m, "c")
    m.wait_ready()
    watch = Watch(m, "a")
    ctl(m, "a", "seed", "--name", "first", "--description", "of tests", "--voters", "3")
    watch.wait("group_seeded")
    watch.wait("role_changed", role="leader")
    refused(m, "a", "seed", text="already")
    refused(m, "b", "seed", text="has a control group already")
    refused(m, "b", "seed", "--force", text="has a control group already")
    for n in "bc":
        ctl(m, n, "join")
        refused(m, n, "join", text="already")
        watch.wait("member_joined", node_name=n)
    wait_members(m, "abc", "abc")
    for n in "abc":
        wait_voters(m, n, 3)
    watch.close()


def test_all_have_what_one_sends(m):
    begun(m)
    with Senders(m, "abc", count=40) as senders:
        sent = senders.finish()
    check_updates(m, sent)


def test_join_nobody(m):
    begun(m)
    leave(m, "c")
    ctl(m, "b", "settings", "--allow-join", "nobody")
    refused(m, "c", "join", text="lets nobody join now")
    ctl(m, "a", "settings", "--allow-join", "certificate")
    ctl(m, "c", "join")
    wait_members(m, "abc", "abc")


def token(m, node, *options):
    return ctl_json(m, node, "join-token", *options)["token"]


def forged(text):
    """The token for another day: all of it is right but the signature."""
    data = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    data[len(data) - 65] ^= 1
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_join_with_a_token(m):
    """One that is good, for this node, and was not used by another one."""
    begun(m)
    ctl(m, "a", "settings", "--allow-join", "token")
    for n in "bc":
        leave(m, n)
    good = token(m, "a", "--node", "c")
    refused(m, "c", "join", text="asks for a token")
    refused(m, "c", "join", "-t", "nonsense", text="no token")
    refused(m, "c", "join", "-t", forged(good), text="signature is wrong")
    refused(m, "b", "join", "-t", good, text="for another node")
    brief = token(m, "a", "--valid", "1s")
    time.sleep(1.1)
    refused(m, "c", "join", "-t", brief, text="expired")
    ctl(m, "c", "join", "-t", good)
    anyone = token(m, "a")
    ctl(m, "b", "join", "-t", anyone)
    wait_members(m, "abc", "abc")
    # What b came with is b's: nobody else can use it.
    leave(m, "c")
    refused(m, "c", "join", "-t", anyone, text="used")
    ctl(m, "a", "settings", "--allow-join", "certificate")
    ctl(m, "c", "join")
    wait_members(m, "abc", "abc")


def test_leave_and_join_again(m):
    begun(m)
    watch = Watch(m, "a")
    with Senders(m, "ab") as senders:
        senders.more(10)
        leave(m, "c")
        watch.wait("member_left", node_name="c")
        wait_members(m, "ab", "ab")
        assert members(m, "a")["c"]["status"] == "left"
        refused(m, "c", "update", "mesh", "news", "x", text="")
        senders.more(10)
        ctl(m, "c", "join")
        senders.more(10)
        sent = senders.finish()
    watch.close()
    check_updates(m, sent)


def test_the_leader_leaves(m):
    begun(m)
    first = leader(m, "abc")
    others = [n for n in "abc" if n != first]
    leave(m, first)
    wait_members(m, others, others)
    assert leader(m, others) in others
    ctl(m, first, "join")
    wait_members(m, "abc", "abc")


def test_stop_and_start(m):
    """Who stops hands over what it leads, stays a member, and takes part again when it starts, by command or anew."""
    begun(m)
    for n in "abc":
        wait_voters(m, n, 3)
    first = leader(m, "abc")
    other = next(n for n in "abc" if n != first)
    watch = Watch(m, other)
    ctl(m, first, "stop")
    watch.wait("member_stopped", node_name=first)
    assert leader(m, [n for n in "abc" if n != first]) != first
    assert members(m, other)[first]["status"] == "stopped"
    ctl(m, first, "start")
    watch.wait("member_started", node_name=first)
    ctl(m, first, "stop")
    m.restart(first, "consensusd")
    wait_until("it to be started", lambda: members(m, other)[first]["status"] == "member")
    watch.close()
    mark(m, first)


def test_transfer(m):
    begun(m)
    for n in "abc":
        wait_voters(m, n, 3)
    for _ in range(3):
        first = leader(m, "abc")
        to = next(n for n in "bca" if n != first)
        soon(m, "a", "raft", "transfer", to)
        assert leader(m, "abc") == to
    refused(m, "a", "raft", "transfer", "nobody", text="")


def test_the_last_one_leaves(m):
    """The only member that leaves ends the group: then there may be another one."""
    begun(m)
    for n in "ab":
        leave(m, n)
    wait_members(m, "c", "c")
    leave(m, "c")
    assert all(raft(m, n) is None for n in "abc")
    away(m, "c")
    wait_until("c to be missed", lambda: {x["status"] for x in ctl_json(m, "b", "nodes")} != {"alive"}, 30)
    refused(m, "b", "seed", text="force")
    ctl(m, "b", "seed", "--force")
    ctl(m, "a", "join")
    back(m, "c")
    m.wait_ready()
    refused(m, "c", "seed", "--force", text="has a control group already")
    ctl(m, "c", "join")
    wait_members(m, "abc", "abc")
