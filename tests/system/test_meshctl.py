"""meshctl and devmesh as people and scripts use them."""
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from devmeshlib import procs
from harness import TOP, wait_until

LIMIT_S = 60


def run(m, node, *argv, code=0, text_in=None, env=None):
    """meshctl's output; it must exit with code, and say something on an error."""
    r = subprocess.run([f"{m.state['bin']}/meshctl", *(["-s", m.node(node)["control_socket"]] if node else []), *argv],
                       input=text_in, capture_output=True, text=True, timeout=LIMIT_S, check=False,
                       env=dict(os.environ, **(env or {})))
    assert r.returncode == code, f"{argv}: exit {r.returncode}, expected {code}: {r.stderr}"
    assert code == 0 or r.stderr.startswith("meshctl: "), f"{argv}: {r.stderr!r}"
    return r.stdout


def start(m, node, *argv, **kw):
    return subprocess.Popen([f"{m.state['bin']}/meshctl", "-s", m.node(node)["control_socket"], *argv], text=True,
                            stderr=subprocess.DEVNULL, **kw)


def test_lists(m):
    status = json.loads(run(m, "a", "-j", "status"))
    assert status["serving"] and status["node_name"] == "a" and len(status["daemons"]) == 4
    assert {d["state"] for d in status["daemons"]} == {"running"}
    names = {n["node_name"]: n["hops"] for n in json.loads(run(m, "a", "nodes", "-j"))}
    assert names == {"a": 0, "b": 1, "c": 2}
    links = json.loads(run(m, "a", "links", "--json"))
    assert {(x["source_name"], x["target_name"]) for x in links} == {("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")}
    routes = {r["destination_name"]: r["paths"][0]["hops"] for r in json.loads(run(m, "c", "-j", "routes"))}
    assert routes == {"a": ["b", "a"], "b": ["b"]}
    assert "mesh_build_info" in run(m, "a", "metrics")


ABBREVIATED = re.compile(r"_(ms|us|millis|milliseconds|microseconds|kb|kib|mb|percent|kbps)(_|$)")


def test_metrics_are_named_as_prometheus_wants(m):
    """The rules of `promtool check metrics`, for all that a node's daemons tell; and promtool, where it is."""
    text = run(m, "a", "metrics")
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    helped = set(re.findall(r"^# HELP (\S+) .", text, re.M))
    for name, kind in kinds.items():
        assert re.fullmatch(r"mesh(_[a-z0-9]+)+", name), name
        assert name in helped, f"{name} has no help"
        assert name.endswith("_total") == (kind == "counter"), f"{name} is a {kind}"
        assert kind == "histogram" or not re.search(r"_(count|sum|bucket)$", name), name
        assert not re.search(r"_(counter|gauge|histogram)(_|$)", name), name
        assert not ABBREVIATED.search(name), name
    for line in text.splitlines():
        if not line.startswith("#"):
            name = re.match(r"\w+", line)[0]
            assert name in kinds or kinds[re.sub(r"_(count|sum|bucket)$", "", name)] == "histogram", line
    if shutil.which("promtool"):
        subprocess.run(["promtool", "check", "metrics"], input=text, text=True, check=True)


def test_text_is_aligned_and_plain(m):
    """Columns start where their titles do; no colours where there is no terminal, unless asked for."""
    text = run(m, "a", "nodes")
    head, *rows = text.splitlines()
    assert "\033" not in text and len(rows) == 3
    at = head.index("STATUS")
    assert all(row[at:].startswith("alive") for row in rows), text
    assert "\033[32m" in run(m, "a", "--color", "always", "nodes")
    assert run(m, "a", "--color=never", "status").splitlines()[0].split() == ["Node", "a"]


def test_ways_to_name_the_node(m):
    a = m.node("a")
    for argv, env in ((["-c", a["config"]], None), ([], {"MESH_SOCKET": a["control_socket"]})):
        assert '"a"' in run(m, None, *argv, "-j", "status", env=env)


def test_exit_codes(m):
    run(m, None, "-s", "/nonexistent/socket", "status", code=3)
    run(m, "a", "nonsense", code=2)
    run(m, "a", "publish", "--count", "many", code=2)
    run(m, "a", "publish", "x", code=2)
    run(m, "a", "open", "--tenant", "acme", "--to", "nowhere", code=5)
    run(m, "a", "open", "--tenant", "stranger", "--to", "c", code=4)
    run(m, "a", "publish", "--stream", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "x", code=5)
    run(m, "a", "close", "01ARZ3NDEKTSV4RRFFQ69G5FAV", code=5)
    run(m, None, "-s", "x" * 200, "status", code=2)
    r = subprocess.run([f"{m.state['bin']}/meshctl", "-c", "/nonexistent", "status"], capture_output=True, text=True,
                       check=False)
    assert r.returncode == 1 and "/nonexistent: No such file" in r.stderr
    r = subprocess.run(f"{m.state['bin']}/meshctl -s {m.node('a')['control_socket']} metrics >/dev/full", shell=True,
                       capture_output=True, text=True, check=False)
    assert r.returncode == 1 and "can't be written" in r.stderr


def test_help(m):
    """Every command explains itself, and the manual has it with all its options."""
    with open(f"{TOP}/man/meshctl.1", encoding="utf-8") as f:
        manual = f.read()
    for line in run(m, None, "commands").splitlines():
        command, _, options = line.partition(":")
        text = run(m, None, *command.split(), "--help")
        assert text.startswith(f"usage: meshctl {command}"), text
        assert all(o in text for o in options.split()), text
        assert f".It Ic {command}" in manual, command
        missing = [o for o in options.split() if f"Fl -{o[2:]}" not in manual]
        assert not missing, f"{command}: {missing} not in the manual"
    assert "exit status" in run(m, None, "help")


def test_publish_and_subscribe(m):
    with start(m, "c", "subscribe", "--tenant", "acme", "--from", "a", "--count", "6", stdout=subprocess.PIPE) as sub:
        out = json.loads(run(m, "a", "-j", "publish", "--tenant", "acme", "--to", "c", "one", "two words"))
        assert (out["processed"], out["first_seq"]) == (2, 1)
        stream = out["stream_id"]
        out = json.loads(run(m, "a", "-j", "publish", "--stream", stream, text_in="three\n\nlast"))
        assert (out["processed"], out["first_seq"]) == (3, 3)
        lines = run(m, "a", "publish", "--stream", stream, "--results", "six").splitlines()
        assert re.match(r"6 processed after \d+\.\d\d ms", lines[0]), lines
        assert sub.communicate(timeout=LIMIT_S)[0] == "one\ntwo words\nthree\n\nlast\nsix\n"
        assert sub.returncode == 0
    infos = json.loads(run(m, "a", "-j", "streams", stream))
    assert infos[0]["committed_seq"] == 6 and infos[0]["backlog_messages"] == 0
    run(m, "a", "close", stream)
    run(m, "a", "publish", "--stream", stream, "late", code=4)


def test_two_targets_and_open(m):
    handle = json.loads(run(m, "a", "-j", "open", "--tenant", "acme", "--to", "b,c"))
    again = json.loads(run(m, "a", "-j", "open", "--tenant", "acme", "--to", "b,c", "--stream", handle["stream_id"]))
    assert again["stream_id"] == handle["stream_id"] and len(handle["target_nodes"]) == 2
    subs = [start(m, n, "-j", "subscribe", "--tenant", "acme", handle["stream_id"], "-n", "20", stdout=subprocess.PIPE)
            for n in "bc"]
    run(m, "a", "publish", "--stream", handle["stream_id"], "--count", "20", "--size", "1KB")
    for sub in subs:
        got = [json.loads(line) for line in sub.communicate(timeout=LIMIT_S)[0].splitlines()]
        assert [g["seq"] for g in got] == list(range(1, 21))
        assert all(len(g["payload"]) == 1024 for g in got)


def test_files_and_directories(m):
    with tempfile.TemporaryDirectory() as d:
        data = os.urandom(300_000)
        with open(f"{d}/in", "wb") as f:
            f.write(data)
        for argv in (["--out", f"{d}/out"], ["--dir", f"{d}/dir"]):
            handle = json.loads(run(m, "a", "-j", "open", "--tenant", "acme", "--to", "c"))
            sub = start(m, "c", "subscribe", "--tenant", "acme", handle["stream_id"], *argv, "-n", "5")
            run(m, "a", "publish", "--stream", handle["stream_id"], "--file", f"{d}/in", "--piece", "64KB")
            assert sub.wait(LIMIT_S) == 0
        with open(f"{d}/out", "rb") as f:
            assert f.read() == data
        parts = sorted(os.listdir(f"{d}/dir"))
        assert [p[-10:] for p in parts] == [f"{i:010}" for i in range(1, 6)]
        assert b"".join(open(f"{d}/dir/{p}", "rb").read() for p in parts) == data


def test_subscriber_killed_at_any_time(m):
    """--resume-file: whenever the subscriber dies, its output has each message exactly once in the end."""
    count, size = 1500, 100
    handle = json.loads(run(m, "a", "-j", "open", "--tenant", "acme", "--to", "c"))
    stream = handle["stream_id"]
    with tempfile.TemporaryDirectory() as d:
        argv = ["subscribe", "--tenant", "acme", stream, "--out", f"{d}/out", "--lines", "--resume-file", f"{d}/position"]
        pub = start(m, "a", "-j", "publish", "--stream", stream, "--count", str(count), "--size", str(size), "--rate",
                    "700", stdout=subprocess.PIPE)
        kills = 0
        while True:
            sub = start(m, "c", *argv)
            have = os.path.getsize(f"{d}/out") if os.path.exists(f"{d}/out") else 0
            target = min(have + 100 * (size + 1), count * (size + 1))
            wait_until("some more", lambda t=target: os.path.exists(f"{d}/out") and os.path.getsize(f"{d}/out") >= t)
            if target == count * (size + 1):
                break
            sub.send_signal(signal.SIGKILL)
            sub.wait()
            kills += 1
        out = json.loads(pub.communicate(timeout=LIMIT_S)[0])
        sub.send_signal(signal.SIGTERM)
        assert sub.wait(LIMIT_S) == 8
        assert out["processed"] == count and kills > 5
        with open(f"{d}/out", encoding="utf-8") as f:
            lines = f.read().splitlines()
        assert [int(line.split()[1]) for line in lines] == list(range(1, count + 1))
        with open(f"{d}/position", encoding="utf-8") as f:
            assert f"{stream} {count}\n" in f.read()


def test_retry_over_crashes(m):
    """publish and subscribe with --retry live through their gatewayd and consensusd."""
    count = 2000
    handle = json.loads(run(m, "a", "-j", "open", "--tenant", "acme", "--to", "c"))
    stream = handle["stream_id"]
    with tempfile.TemporaryDirectory() as d:
        sub = start(m, "c", "subscribe", "--tenant", "acme", stream, "--out", f"{d}/out", "--lines", "--retry", "60s", "-n",
                    str(count))
        pub = start(m, "a", "-j", "publish", "--stream", stream, "--count", str(count), "--rate", "500", "--retry", "60s",
                    stdout=subprocess.PIPE)

        def lines():
            return open(f"{d}/out", "rb").read().count(b"\n") if os.path.exists(f"{d}/out") else 0

        for i, (node, part) in enumerate((("a", "gatewayd"), ("c", "gatewayd"), ("a", "consensusd"), ("c", "consensusd"))):
            wait_until("some messages", lambda n=count * (i + 1) // 6: lines() >= n)
            m.kill(node, part)
            m.start(node, part)
        out = json.loads(pub.communicate(timeout=LIMIT_S)[0])
        assert sub.wait(LIMIT_S) == 0
        assert out["processed"] == count and out["reconnects"] >= 2
        with open(f"{d}/out", encoding="utf-8") as f:
            assert [int(line.split()[1]) for line in f] == list(range(1, count + 1))
    m.wait_ready()


def test_watch(m):
    with start(m, "a", "-j", "watch", "--type", "stream_opened", "-n", "1", stdout=subprocess.PIPE) as watch:
        end = time.monotonic() + LIMIT_S
        while watch.poll() is None and time.monotonic() < end:
            run(m, "a", "open", "--tenant", "acme", "--to", "c")
        assert json.loads(watch.stdout.readline())["event_type"] == "stream_opened"


def test_pki(m):
    """Files appear whole, private and only once; what they say is what was asked for."""
    with tempfile.TemporaryDirectory() as d:
        run(m, None, "ca", "init", f"{d}/ca", "--mesh", "01ARZ3NDEKTSV4RRFFQ69G5FAV")
        run(m, None, "ca", "init", f"{d}/ca", code=7)
        node_id = run(m, None, "keygen", f"{d}/keyring").strip()
        assert run(m, None, "keygen", "--show", f"{d}/keyring").strip() == node_id
        run(m, None, "keygen", f"{d}/keyring", code=7)
        run(m, None, "ca", "node", f"{d}/ca", node_id, "--name", "x", "--ip", "::1", "--dns", "x.example")
        shown = json.loads(run(m, None, "-j", "ca", "show", f"{d}/ca/x.crt"))[0]
        assert f"URI:spiffe://01ARZ3NDEKTSV4RRFFQ69G5FAV/node/{node_id}" in shown["names"]
        assert oct(os.stat(f"{d}/ca/x.key").st_mode & 0o777) == "0o600"
        run(m, None, "ca", "node", f"{d}/ca", "short", code=2)
        run(m, None, "ca", "server", f"{d}/none", "x", code=5)
        run(m, None, "ca", "client", f"{d}/ca", "x", "--algorithm", "rsa", code=2)
        key = run(m, None, "tenant-key", "--print", "acme", f"{d}/keyring").strip()
        assert run(m, None, "tenant-key", "--from", f"{d}/keyring", "--print", "acme", f"{d}/other").strip() == key
        run(m, None, "tenant-key", "--stdin", "acme", f"{d}/third", text_in=key)
        token = run(m, None, "token", "app", "--file", f"{d}/tokens").strip()
        with open(f"{d}/tokens", encoding="utf-8") as f:
            assert f.read() == f"{hashlib.sha256(token.encode()).hexdigest()} app\n"


def test_devmesh_leaves_nothing():
    """up, status, kill, restart, cut, heal, delay, rate, down: as a person types them; then nothing runs."""
    with tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o711)
        tool = [f"{TOP}/tools/devmesh"]

        def devmesh(*argv, code=0):
            r = subprocess.run([*tool, *argv, "-d", f"{d}/m"], capture_output=True, text=True, timeout=120, check=False)
            assert r.returncode == code, f"{argv}: {r.returncode}: {r.stderr}"
            return r.stdout + r.stderr

        devmesh("status", code=1)
        assert "RUNNING" in devmesh("up", "-n", "2", "-t", "line")
        devmesh("up", code=1)
        devmesh("kill", "a", "gatewayd")
        assert "DOWN: gatewayd" in devmesh("status")
        devmesh("restart", "a", "gatewayd")
        devmesh("restart", "b")
        for verb in (["cut", "a", "b"], ["heal", "a", "b"], ["delay", "a", "b", "5"], ["rate", "a", "b", "100"],
                     ["reset", "a", "b"]):
            devmesh(*verb)
        assert re.search(r"delay 5 .*rate 100\b", devmesh("status"))
        assert "no node 'x'" in devmesh("kill", "x", "gatewayd", code=1)
        with open(f"{d}/m/mesh.json", encoding="utf-8") as f:
            state = json.load(f)
        for key in ("name", "node_id", "grpc_address", "ca", "client_cert", "client_key", "token", "control_socket",
                    "database", "pids", "logs"):
            assert state["nodes"][0][key], key
        pids = [p for n in state["nodes"] for p in n["procs"].values()] + list(state["procs"].values())
        devmesh("down")
        assert not any(procs.alive(p) for p in pids)
        assert not [o for p in pids for o in procs.orphans(p)]


def test_devmesh_says_why():
    """A daemon that can't start is named, with the end of its log."""
    with tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o711)
        r = subprocess.run([f"{TOP}/tools/devmesh", "up", "-n", "1", "-d", f"{d}/m", "--set", "transportd.links-max=0"],
                           capture_output=True, text=True, timeout=120, check=False)
        assert r.returncode == 1 and "transportd of node a has ended" in r.stderr and "links-max" in r.stderr, r.stderr


MESH = {}
