"""meshctl's commands of the control group: what they print, their exit codes, and what they refuse by themselves."""
import json
import subprocess
import time

import env

DONE, FAILED, USAGE, UNREACHABLE, REFUSED, NOTFOUND, TIMEOUT, UNCOMMITTED, PENDING = 0, 1, 2, 3, 4, 5, 6, 9, 10
ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


class Ctl:
    """meshctl at a gateway: its output, after its exit code was checked."""

    def __init__(self, gateway):
        self.socket = gateway.run_dir / "gatewayd.sock"

    def run(self, *argv, code=DONE, text_in="", said=None):
        r = subprocess.run([env.BUILD / "bin/meshctl", "-s", self.socket, *argv], input=text_in, text=True,
                           capture_output=True, timeout=60, check=False)
        assert r.returncode == code, f"{argv}: exit {r.returncode}, expected {code}: {r.stdout!r} {r.stderr!r}"
        assert said is None or said in r.stderr, f"{argv}: {r.stderr!r} lacks {said!r}"
        assert code in (DONE, PENDING) or r.stderr.startswith("meshctl: "), r.stderr
        self.stderr = r.stderr
        return r.stdout

    def json(self, *argv, **kw):
        return json.loads(self.run("-j", *argv, **kw))


def test_membership():
    with env.Gateway() as g:
        c = Ctl(g)
        assert c.run("raft") == "this node is a member of no group\n"
        c.run("start", code=REFUSED, said="the node is no member")
        out = c.run("seed", "--name", "m", "--description", "for tests", "--allow-join", "token", "--voters", "3", "--force")
        assert out == "the mesh has a control group now, and this node is its first member; members: 2, leader: b\n", out
        c.run("seed", code=REFUSED, said="already")
        assert c.run("stop").startswith("this node takes part no more")
        assert c.run("start").startswith("this node takes part again")
        assert c.run("join", "--token", "t", "--contact", "b").startswith("this node is a member")
        assert c.json("join")["raft_groups"][0]["leader_name"] == "b"
        assert c.run("evict", "b", "--reason", "lost").startswith("b is locked out")
        c.run("evict", "nobody", code=NOTFOUND, said="no such member")
        assert c.run("readmit", "c").startswith("c may join again")
        c.run("join", "--token", "wrong", code=REFUSED, said="the token is not good")
        c.run("join", "--token", "silent", "--timeout", "300ms", code=TIMEOUT, said="no answer within 300 ms")
        # It leaves the group; then routerd, which is not there, is asked.
        c.run("leave", code=UNREACHABLE, said="routerd")
        assert c.run("raft") == "this node is a member of no group\n"


def test_token_for_another_node():
    with env.Gateway() as g:
        c = Ctl(g)
        assert c.run("join-token", "--node", "b", "--valid", "2h") == "token-b\n"
        assert c.stderr.startswith("good until 20"), c.stderr
        assert c.json("join-token", "--valid", "5ms") == {"token": "token-", "expires": 1800000000005}
        assert c.run("join", "--token-file", "-", text_in=" a-token\n").startswith("this node is a member")
        path = g.dir / "token"
        path.write_text("wrong\n")
        c.run("join", "--token-file", str(path), code=REFUSED, said="the token is not good")
        for text in ("", "\n", "two\nlines", "x" * 512, "nul\0"):
            c.run("join", "--token-file", "-", text_in=text, code=USAGE)
        c.run("join", "--token-file", "/nonexistent", code=NOTFOUND)


def test_settings():
    with env.Gateway() as g:
        c = Ctl(g)
        assert c.json("settings", "--description", "new", "--voters", "5")["voters"] == 5
        assert c.json("settings") == {"mesh_id": "", "description": "new"}
        assert "Description  new" in c.run("settings")
        assert c.json("settings", "--description", "")["description"] == ""


def test_raft():
    with env.Gateway() as g:
        c = Ctl(g)
        c.run("seed")
        head, row = (line.split() for line in c.run("raft").splitlines())
        assert dict(zip(head, row)) == {"GROUP": ULID, "TYPE": "MCG", "STATUS": "ok", "ROLE": "leader", "LEADER": "b",
                                        "TERM": "7", "COMMIT": "20", "APPLIED": "17", "LAST": "0", "LAG": "3",
                                        "MEMBERS": "2"}
        text = c.run("raft", "-v")
        assert "log from 0 to 0" in text and text.splitlines()[-1].split()[:4] == ["b", "0000000000002", "voter", "member"]
        group = c.json("raft")[0]
        assert group["member_details"][0]["lag"] == 2 and "member_count" not in group
        assert "Groups   1 ok of 1" in c.run("status")
        assert c.run("raft", "transfer") == "leader: b, term 7\n"
        assert c.run("raft", "transfer", "0000000000003", "--group", ULID) == "leader: 0000000000003, term 7\n"
        c.run("raft", "transfer", "--group", "none", code=NOTFOUND, said="no such group")
        c.run("raft", "transfer", "--group", "g" * 37, code=USAGE)


def test_leaderless_group_is_degraded():
    with env.Gateway() as g:
        c = Ctl(g)
        c.run("seed", "--name", "leaderless")
        assert "no-leader" in c.run("raft")
        c.run("leave", code=UNREACHABLE, said="there is no quorum")


def test_outcomes_of_updates():
    with env.Gateway() as g:
        c = Ctl(g)
        assert c.run("update", "mesh", "t", "hello") == "committed at 5\n"
        assert c.run("update", "mesh", "t", "hello", "--wait", "quorum") == "committed at 5, applied on 2 of 2 nodes\n"
        assert c.run("update", "mesh", "again", "x") == "sent before: committed at 1\n"
        assert c.run("update", "mesh", "t", "x", "--wait", "none", "--id", ULID) == f"accepted as {ULID}\n"
        out = c.run("update", "mesh", "pending", "x", "--wait", "all", "--timeout", "1500ms", code=PENDING,
                    said="not applied by all that were waited for: the time of 1500 ms was up")
        assert out == "committed at 1, applied on 2 of 3 nodes; pending: 0000000000003\n", out
        c.run("update", "mesh", "uncommitted", "x", "--id", ULID, code=UNCOMMITTED, said=f"--id {ULID}")
        c.run("update", "mesh", "unavailable", "x", code=UNCOMMITTED, said="there is no quorum")
        assert "with --id 01" in c.stderr, c.stderr
        c.run("update", "mesh", "invalid", "x", code=REFUSED, said="the type is not good")
        r = c.json("update", "mesh", "pending", "x", code=PENDING)
        assert r["committed"] and not r["success"] and r["pending_nodes"] == ["0000000000003"], r
        assert c.run("update", "node", "load", "1234") == "version 4\n"
        assert c.run("update", "node", "load", "--remove") == "version 99\n"
        c.run("update", "node", "uncommitted", "x", code=UNCOMMITTED)
        assert c.run("update", "db", "t", "insert", "--key", "{}", "--row", '{"a":1}') == "committed at 2007\n"
        c.run("update", "db", "t", "invalid", "--key", "{}", code=REFUSED)
        begin = time.monotonic()
        c.run("update", "mesh", "silent", "x", "--timeout", "100ms", code=TIMEOUT, said="--id 01")
        assert time.monotonic() - begin > 5, "meshctl must wait longer than the node"
        c.run("update", "mesh", "crash", "x", code=UNCOMMITTED, said="--id 01")


def test_payloads():
    with env.Gateway() as g:
        c = Ctl(g)
        path = g.dir / "payload"
        path.write_bytes(bytes(1024 * 1024))
        assert c.run("update", "mesh", "t", "--file", str(path)) == "committed at 1048576\n"
        assert c.run("update", "mesh", "t", "-", text_in="abc") == "committed at 3\n"
        assert c.run("update", "mesh", "t", "--file", "-", text_in="") == "committed at 0\n"
        assert c.run("update", "mesh", "t", "") == "committed at 0\n"
        with path.open("ab") as f:
            f.write(b"x")
        c.run("update", "mesh", "t", "--file", str(path), code=USAGE, said="at most 1048576 bytes")
        c.run("update", "node", "t", "--file", str(path), code=USAGE, said="at most 65536 bytes")
        c.run("update", "mesh", "t", "--file", "/nonexistent", code=NOTFOUND)
        c.run("update", "mesh", "t", "--file", str(g.dir), code=FAILED, said="directory")


def test_refused_before_the_node_is_asked():
    """Wrong usage is told without a node."""
    class Nowhere:
        run_dir = env.pathlib.Path("/nonexistent")

    c = Ctl(Nowhere)
    for argv in (("seed", "--voters", "4"), ("seed", "--voters", "17"), ("seed", "--allow-join", "all"),
                 ("seed", "--name", "n" * 64), ("seed", "--description", "d" * 256), ("seed", "x"),
                 ("join", "--token", "t", "--token-file", "f"), ("join", "--token", "t" * 512),
                 ("join", "--contact", "c" * 64), ("join-token", "--valid", "soon"), ("join-token", "--node", "n" * 64),
                 ("evict",), ("evict", "n" * 64), ("evict", "b", "--reason", "r" * 256), ("readmit",),
                 ("settings", "--allow-join", ""), ("settings", "--voters", "0"), ("raft", "x"),
                 ("update", "mesh"), ("update", "mesh", "t"), ("update", "mesh", "t", "x", "--file", "f"),
                 ("update", "mesh", "t" * 64, "x"), ("update", "mesh", "", "x"),
                 ("update", "mesh", "t", "x", "--id", "12"), ("update", "mesh", "t", "x", "--id", ULID + "0"),
                 ("update", "mesh", "t", "x", "--wait", "some"), ("update", "mesh", "t", "x", "--timeout", "0"),
                 ("update", "mesh", "t", "x", "--timeout", "2d"), ("update", "node", "t", "x", "--remove"),
                 ("update", "node", "t", "x" * 65537), ("update", "db", "t"), ("update", "db", "t", "insert"),
                 ("update", "db", "t" * 64, "insert", "--row", "{}"), ("update", "db", "t", "insert", "--row", "[1]"),
                 ("update", "db", "t", "insert", "--row", "{"), ("update", "db", "t", "insert", "--key", '{"a":1,"a":2}'),
                 ("update", "follow", "all"), ("update", "follow"), ("update", "follow", "mesh", "--from", "-1"),
                 ("update", "follow", "mesh", "--window", "0"), ("update", "follow", "mesh", "--subscriber", "s" * 64),
                 ("update", "follow", "mesh", *["-t", "x"] * 17), ("config", "set", "k"), ("config", "set", "k", "abc"),
                 ("config", "set", "k", '"' + "x" * 65536 + '"'), ("config", "set", "k" * 128, "1"),
                 ("config", "set", "k", "1", "--expected", "-1"), ("config", "remove"), ("config", "history"),
                 ("config", "get", "k" * 128), ("config", "get", "--count", "0"), ("config",),
                 ("key", "rotate", "--node", "b"), ("key", "rotate", "--tenant", "NO"), ("key", "rotate", "--valid", "x"),
                 ("key", "rotate", "--valid", "1h"),
                 ("letters", "retry", "x"), ("letters", "retry", "0"), ("letters", "discard", "-1"), ("letters", "burn"),
                 ("letters", "--after", "x")):
        c.run(*argv, code=USAGE)
    c.run("raft", code=UNREACHABLE)
    c.run("update", "mesh", "t", "x", code=UNREACHABLE)


def test_follow():
    with env.Gateway() as g:
        c = Ctl(g)
        lines = c.run("update", "follow", "mesh", "--from", "0", "--count", "300").splitlines()
        assert [int(line.split()[0]) for line in lines] == list(range(1, 301)), lines
        assert lines[0].endswith(" note ???"), lines[0]  # the payload's zeros do nothing to a terminal
        # What was printed is acknowledged under the name: the next time goes on behind it.
        assert c.json("update", "follow", "node", "--subscriber", "kept", "-n", "1")["position"] == 301
        u = c.json("update", "follow", "db", "--subscriber", "kept", "-n", "1")
        assert (u["position"], u["table"], u["key"]) == (302, "orders", {"id": 1}), u
        assert "row" not in u
        # Without acks nothing moves, and no more than the window comes.
        for _ in range(2):
            lines = c.run("update", "follow", "mesh", "--subscriber", "kept", "--no-ack", "--window", "5", "-n", "5")
            assert [int(line.split()[0]) for line in lines.splitlines()] == [303, 304, 305, 306, 307]
        c.run("update", "follow", "mesh", "--subscriber", "refused", code=REFUSED, said="the node is no member")


def test_follow_acknowledges_nothing_that_could_not_be_printed():
    with env.Gateway() as g:
        c = Ctl(g)
        with open("/dev/full", "w", encoding="ascii") as full:
            r = subprocess.run([env.BUILD / "bin/meshctl", "-s", c.socket, "update", "follow", "mesh", "--from", "0", "-n",
                                "3"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        assert r.returncode == FAILED and "standard output can't be written" in r.stderr, r
        assert c.json("update", "follow", "mesh", "--subscriber", "kept", "-n", "1")["position"] == 1


def test_follow_until_a_signal():
    with env.Gateway() as g:
        c = Ctl(g)
        with subprocess.Popen([env.BUILD / "bin/meshctl", "-s", c.socket, "update", "follow", "mesh", "--from", "990"],
                              stdout=subprocess.PIPE, text=True) as p:
            assert [int(p.stdout.readline().split()[0]) for _ in range(10)] == list(range(991, 1001))
            p.terminate()
            assert p.wait(30) == 8
        assert c.json("update", "follow", "mesh", "--from", "999", "-n", "1")["position"] == 1000


def test_configuration():
    with env.Gateway() as g:
        c = Ctl(g)
        assert c.run("config", "get") == "no key is set\n"
        c.run("config", "get", "k", code=NOTFOUND, said="there is no key 'k'")
        assert c.run("config", "set", "k", '{"a": [1, null]}') == "set, version 1, committed at 101\n"
        assert c.run("config", "get", "k") == '{"a":[1,null]}\n'
        assert c.json("config", "set", "k", "null", "--expected", "1")["version"] == 2
        assert c.run("config", "get", "k") == "null\n"
        c.run("config", "set", "k", "3", "--expected", "0", code=REFUSED, said="another version")
        assert c.json("config", "get", "k*")[0]["version"] == 2
        assert c.run("config", "get").splitlines()[1].split()[:2] == ["k", "2"]
        assert c.run("config", "remove", "k", "--expected", "2") == "removed, version 3, committed at 103\n"
        c.run("config", "get", "k", code=NOTFOUND)
        lines = c.run("config", "history", "k").splitlines()
        assert [line.split()[-1] for line in lines] == ["VALUE", "(removed)", "null", '{"a":[1,null]}'], lines
        c.run("config", "set", "unavailable", "1", code=UNCOMMITTED, said="there is no quorum")


def test_keys():
    with env.Gateway() as g:
        c = Ctl(g)
        assert [k["tenant_id"] for k in c.json("key", "list")] == ["", "acme"]
        text = c.run("key", "list")
        assert "(the mesh)" in text and "acme" in text
        k = c.json("key", "rotate", "--tenant", "acme", "--node", "b", "--node", "c", "--valid", "1min")
        assert (k["tenant_id"], k["node_ids"], k["created"]) == ("acme", ["b", "c"], 60000), k
        assert "00112233aabbccdd" in c.run("key", "rotate")


def test_letters():
    with env.Gateway() as g:
        c = Ctl(g)
        assert [x["position"] for x in c.json("letters")] == [5, 6]
        assert c.json("letters", "list", "--after", "5", "--count", "1")[0]["key"] == {"id": 1}
        assert "there is no such column" in c.run("letters")
        assert [x["position"] for x in c.json("letters", "retry", "5")] == [6]
        assert c.run("letters", "discard") == "nothing is left that this node could not apply\n"
        c.run("letters", "retry", "9", code=NOTFOUND, said="no such letter")


def test_without_consensusd():
    with env.Gateway() as g:
        c = Ctl(g)
        c.run("seed")
        g.processes["fake"].stop()
        env.wait_until("its end to be seen", lambda: "no group" in c.run("raft"))
        c.run("update", "mesh", "t", "x", code=UNCOMMITTED, said="consensusd is not running")
        c.run("config", "get", code=UNREACHABLE, said="consensusd is not running")
        c.run("update", "follow", "mesh", code=UNREACHABLE)
