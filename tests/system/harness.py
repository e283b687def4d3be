"""What system tests are made of: meshes of real daemons, waiting with deadlines, looks into databases."""
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import psycopg2  # noqa: E402

from devmeshlib import nodes, postgres, procs  # noqa: E402,F401
from devmeshlib.mesh import Mesh  # noqa: E402
from devmeshlib.procs import DevmeshError  # noqa: E402,F401

import api  # noqa: E402
from flow import Publisher, Sink  # noqa: E402

DEADLINE_S = float(os.environ.get("TEST_DEADLINE_S", "60"))


def wait_until(what, check, seconds=None):
    """Calls check() until it returns something true, which is returned; there is no other waiting."""
    end = time.monotonic() + (seconds or DEADLINE_S)
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds or DEADLINE_S:g} s for {what}")
        time.sleep(0.01)


@contextlib.contextmanager
def mesh(count=3, shape="line", **options):
    """A mesh of its own for one test; the ends of its logs are shown if the test fails."""
    directory = tempfile.mkdtemp(prefix="mesh-test-")
    os.chmod(directory, 0o711)
    m = None
    try:
        m = Mesh.up(f"{directory}/m", count, shape, tenants=options.pop("tenants", ["acme"]), **options)
        yield m
        check_alive(m)
    except BaseException:
        show_logs(m or _failed(directory))
        raise
    finally:
        if m is not None:
            m.down()
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def shaped(text, **options):
    """A mesh with these lines as its topology."""
    with tempfile.NamedTemporaryFile("w", suffix=".topology") as t:
        t.write(text)
        t.flush()
        with mesh(0, t.name, **options) as m:
            yield m


def _failed(directory):
    """The mesh that did not come up, for its logs."""
    with contextlib.suppress(Exception):
        with open(f"{directory}/m/mesh.json.failed", encoding="utf-8") as f:
            return Mesh(json.load(f))
    return None


def readable(line):
    """A daemon's JSON line for people; None for the least important ones."""
    try:
        o = json.loads(line)
        if o["level"] in ("info", "debug"):
            return None
        return f"{o['ts'][11:23]} {o['level']:<7} {o['msg']}" + (f" peer={o['peer']}" if "peer" in o else "")
    except (ValueError, KeyError):
        return line.rstrip()


def show_logs(m):
    """The end of what each process has said; the whole is kept in build/system-logs."""
    if m is None:
        return
    keep = f"{TOP}/build/system-logs/{os.path.basename(os.path.dirname(m.dir))}"
    for n in m.nodes:
        os.makedirs(f"{keep}/{n['name']}", exist_ok=True)
        for part, path in n["logs"].items():
            if not os.path.exists(path):
                continue
            shutil.copy(path, f"{keep}/{n['name']}")
            with open(path, encoding="utf-8", errors="replace") as f:
                lines = [text for line in f if (text := readable(line))]
            print("".join(f"    {n['name']} {part:<10} {text}\n" for text in lines[-6:]), end="",
                  file=sys.stderr)
    print(f"    whole logs: {keep}", file=sys.stderr, flush=True)


def check_alive(m):
    """Nothing that should run has ended by itself, of a fault or of its sandbox."""
    m = Mesh.load(m.dir)
    for n in m.nodes:
        for part, proc in n["procs"].items():
            assert procs.alive(proc), f"{part} of node {n['name']} has ended:\n{nodes.log_tail(n, part)}"


def query(node, sql, *args):
    """Rows of a node's database."""
    with contextlib.closing(psycopg2.connect(node["database"])) as db, db.cursor() as cursor:
        cursor.execute(sql, args)
        return cursor.fetchall()


def wait_all(pubs, sinks, seconds=None):
    """Until the publishers have everything confirmed and the sinks have it all."""
    def done():
        for part in [*pubs, *sinks]:
            if part.error is not None:
                raise part.error
        return all(p.confirmed == p.last for p in pubs) and \
            all(s.got(p.stream_id) == p.last for s in sinks for p in pubs if s.wants(p))

    for s in sinks:
        s.wants = lambda p, s=s: not s.streams or p.stream_id in s.streams
    try:
        wait_until("all to be delivered and confirmed", done, seconds)
    except AssertionError as e:
        if not str(e).startswith("waited"):
            raise
        raise AssertionError(f"{e}: confirmed {[p.confirmed for p in pubs]} of {[p.last for p in pubs]}, "
                             f"received {[s.position for s in sinks]}") from None


def check_rows(source, targets, stream_id, count):
    """The databases of source and targets agree that count messages are done, and hold none back."""
    ids = sorted(t["node_id"] for t in targets)
    for node in (source, *targets):
        rows = []

        def settled(node=node, rows=rows):
            rows[:] = query(node, "SELECT dst_node, min(seq), max(seq), count(*), count(DISTINCT seq), "
                         "bool_and(state = 'done') FROM delivery_log_messages WHERE stream_id = %s "
                         "GROUP BY dst_node ORDER BY dst_node", stream_id)
            want = ids if node["name"] == source["name"] else [node["node_id"]]
            return [r[0] for r in rows] == want and all(r[1:] == (1, count, count, count, True) for r in rows)

        try:
            wait_until(f"the delivery log of {node['name']} to have 1 to {count} of {stream_id}", settled, 20)
        except AssertionError as e:
            raise AssertionError(f"{e}: {rows}") from None
        left = query(node, "SELECT count(*) FROM outbox_messages WHERE stream_id = %s AND status <> 'done'",
                     stream_id)[0][0]
        left += query(node, "SELECT count(*) FROM inbox_messages WHERE stream_id = %s AND processed IS NULL",
                      stream_id)[0][0]
        assert left == 0, f"{node['name']} still holds {left} messages"


class Flow:
    """One stream from source to targets with its publisher and a sink at each target."""

    def __init__(self, m, source, targets, count, tenant="acme", size=200, window=256, local=False, metadata=None,
                 priority=0):
        self.m, self.count = m, count
        self.source, self.targets = m.node(source), [m.node(t) for t in targets]
        self.stream = api.open_stream(self.source, tenant, list(targets), metadata=metadata,
                                      priority=priority).stream_id
        self.sinks = [Sink(t, tenant, [self.stream], size, local=local) for t in self.targets]
        self.publisher = Publisher(self.source, self.stream, count, size=size, window=window, local=local)

    def __enter__(self):
        for part in [*self.sinks, self.publisher]:
            part.start()
        return self

    def wait_share(self, share):
        """Until that share of the messages is confirmed to the publisher."""
        def reached():
            for part in [*self.sinks, self.publisher]:
                if part.error is not None:
                    raise part.error
            return self.publisher.confirmed >= self.count * share

        wait_until(f"{share:.0%} of {self.count} messages (at {self.publisher.confirmed})", reached)

    def finish(self, seconds=None):
        """Everything arrived, in order, once, unchanged; and the databases say the same."""
        wait_all([self.publisher], self.sinks, seconds)
        check_rows(self.source, self.targets, self.stream, self.count)

    def __exit__(self, *_):
        self.publisher.stopping.set()
        for s in self.sinks:
            s.stop()
        self.publisher.join(10)
