"""Everything breaks at random, from one seed: daemons, databases, Redis servers and nodes die, hang and come back,
links vanish, crawl and are reset, applications start anew.  Then it stops, and all has to be there: each target has 1
to n once each, nothing was confirmed before it was processed durably, nothing is left behind, and nothing died of
itself.  The applications are programs with python3-grpcio and with @grpc/grpc-js, and the journals that they keep of
their own are what is compared in the end.

Beside plain streams there are those whose publishers are answered earlier, whose messages come in chunks, are rows for
databases, are refused or given up, whose targets and publishers change (kinds.py, changes.py); a tenant's key is
rotated, and what waits for nodes that are away goes to Redis, too.

CHAOS_SEED=N repeats a schedule (the machine's timing stays its own), CHAOS_SECONDS=N says how long it breaks.
"""
import collections
import contextlib
import glob
import heapq
import itertools
import os
import random
import signal
import sys
import time

import psycopg2

import jsflow
from api import open_stream
from changes import Fenced, Moving, Rotator
from devmeshlib import nodes, procs
from flow import Sink
from groups import QUICK, found
from harness import check_rows, query, shaped, wait_until
from kinds import GivenUp, Letters, Rows
from streamload import (BRIEF, SETTLE_S, BriefStreams, ChunkPublisher, EndlessPublisher, MixedSink, check_brief,
                        check_drained, check_logs, retried)

SECONDS = float(os.environ.get("CHAOS_SECONDS", "180"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
PARTS = (*nodes.DAEMONS, "postgres", "redis")
# Links differ in delay and rate, and nodes in how many they have: all pairs have two ways, which are not alike.
SHAPE = """a -> b delay=2
b -> c
a -> d delay=15
c -> d rate=50
e -> c delay=5
d -> e
"""
MIB = 1 << 20
ROTATED = "acme"
TENANTS = (ROTATED, "other", "moved", "js", BRIEF)
SETTINGS = (*QUICK, "consensusd.redis-queue-max=64MB")
# how: as it is opened
Plain = collections.namedtuple("Plain", "source targets tenant size rate window how publisher",
                               defaults=({}, EndlessPublisher))
STREAMS = (Plain("a", "c", ROTATED, 200, 400, 256), Plain("a", "bce", "other", 200, 200, 128),
           Plain("c", "a", ROTATED, MIB, 3, 4), Plain("d", "ae", "other", MIB, 2, 3),
           Plain("b", "d", ROTATED, 20_000, 40, 32), Plain("c", "cb", "other", 100, 200, 64),
           Plain("e", "bd", "other", 500, 60, 64, {"ack": "quorum", "ack_quorum": 1}),
           Plain("d", "b", "other", 300, 60, 64, {"ack": "committed"}),
           Plain("b", "e", ROTATED, 150_000, 5, 8, publisher=ChunkPublisher))
JS = (("e", "ac", 100), ("b", "dea", 50))  # source, targets, messages a second


class Load:
    """Publishers and sinks of all streams, and what must be true of them at any moment."""

    def __init__(self, m, seed):
        self.m, self.streams, sizes = m, [], {}
        for s in STREAMS:
            stream = retried(lambda s=s: open_stream(m.node(s.source), s.tenant, list(s.targets), **s.how)).stream_id
            pub = s.publisher(m.node(s.source), stream, s.size, s.rate, s.window)
            self.streams.append((pub, s, [m.node(t) for t in s.targets]))
            for t in s.targets:
                sizes.setdefault((t, s.tenant), {})[stream] = s.size
        self.sinks = [MixedSink(m.node(t), tenant, of, batch) for batch, ((t, tenant), of) in
                      zip(itertools.cycle((64, 8, 2)), sizes.items())]
        self.brief_sinks = {n["name"]: Sink(n, BRIEF) for n in m.nodes}
        self.brief = BriefStreams(m, seed)
        self.publishers = [s[0] for s in self.streams]
        self.kinds = [Rows(m, "d", "be", ROTATED, 60, 64), Letters(m, "c", "e", "other", 40, 32),
                      GivenUp(m, "e", "a", "other", 50, 32, 2000),
                      Moving(m, "b", "d", "ace", "moved", 200, 60, 64, seed),
                      Fenced(m, "a", "bd", "other", 200, 60, 64, seed)]
        self.rotator = Rotator(m, ROTATED, [p for p, s, _ in self.streams if s.tenant == ROTATED] +
                               [k.publisher for k in self.kinds[:1]], seed)
        self.threads = [*self.sinks, *self.brief_sinks.values(), *self.publishers, self.brief, self.rotator]
        self.js, self.js_counts = [], []
        if jsflow.available():
            os.mkdir(f"{m.dir}/journals")
            self.js = [jsflow.JsFlow(m, source, targets, "js", f"{m.dir}/journals", rate=rate)
                       for source, targets, rate in JS]
        else:
            print("  chaos: without grpc-js, there is no npm", flush=True)

    def start(self):
        for part in (*self.threads, *self.kinds, *self.js):
            part.start()

    def stop(self):
        for flow in (*self.js, *self.kinds):
            flow.stop()
        for part in self.threads:
            part.stopping.set()
        for part in (*self.sinks, *self.brief_sinks.values()):
            part.stop()

    def sink(self, target, stream):
        return next(s for s in self.sinks if s.node is target and stream in s.streams)

    def all_sinks(self):
        return [*self.sinks, *self.brief_sinks.values(), *(s for k in self.kinds for s in k.sinks)]

    def check(self):
        for part in self.threads:
            if part.error is not None:
                raise part.error
        for flow in (*self.js, *self.kinds):
            flow.check()

    def processed(self, pub, node):
        """What a target has processed of a stream, which its delivery log agrees with and its sink has had; None: its
        database is away."""
        with contextlib.suppress(psycopg2.Error):
            rows = query(node, "SELECT coalesce(max(f.committed_seq), 0), coalesce((SELECT sum(last_seq - first_seq "
                         "+ 1) FROM delivery_log WHERE stream_id = ulid_uuid(%s) AND dst_node = node_id(%s)), 0)"
                         " FROM stream_offsets f WHERE stream_id = ulid_uuid(%s) AND node_id = node_id(%s)",
                         *(pub.stream_id, node["node_id"]) * 2)
            processed, logged = rows[0]
            where = f"{pub.stream_id} at {node['name']}: "
            assert logged == processed, f"{where}{processed} processed, {logged} in the delivery log"
            got = self.sink(node, pub.stream_id).got(pub.stream_id)
            assert got >= processed, f"{where}{processed} processed, its sink has {got}"
            return processed
        return None

    def check_confirmed(self, away=()):
        """What is confirmed is processed, durably, at as many targets as the stream's level says.  A database that is
        away is asked another time; the number of those that were asked."""
        asked = 0
        for pub, s, targets in self.streams:
            confirmed = pub.confirmed
            have = [self.processed(pub, t) for t in targets if t["name"] not in away]
            asked += sum(x is not None for x in have)
            enough = len(targets) - sum(x is not None and x < confirmed for x in have)
            least = {"committed": 0, "quorum": s.how.get("ack_quorum")}.get(s.how.get("ack"), len(targets))
            assert enough >= least, f"{pub.stream_id}: {confirmed} confirmed, of {s.targets} processed {have}"
        for k in self.kinds:
            k.check_confirmed(away)
        return asked

    def finish(self):
        for part in (self.brief, self.rotator):
            part.stopping.set()
        for p in (*self.publishers, *self.kinds):
            p.finish()

        def done():
            self.check()
            kinds = [k.done() for k in self.kinds]  # all of them are to end
            return all(p.confirmed == p.last for p in self.publishers) and all(kinds) and \
                not self.brief.is_alive() and not self.rotator.is_alive() and \
                all(self.sink(t, p.stream_id).got(p.stream_id) == p.last for p, _, ts in self.streams for t in ts)

        try:
            wait_until("all to be delivered and confirmed", done, SETTLE_S)
        except AssertionError as e:
            state = [(p.stream_id, f"{p.confirmed}/{p.last}", [self.sink(t, p.stream_id).got(p.stream_id) for t in ts])
                     for p, _, ts in self.streams] + [k.state() for k in self.kinds]
            raise AssertionError(f"{e}: {state}, brief streams {'running' if self.brief.is_alive() else 'done'}") from e
        self.js_counts = [flow.finish(SETTLE_S) for flow in self.js]


class Chaos:
    """The schedule: what is broken, and when it is repaired."""

    def __init__(self, m, load, seed):
        self.m, self.load, self.rng = m, load, random.Random(seed)
        self.down, self.paused, self.repairs, self.order = set(), set(), [], itertools.count()
        self.begin, self.story = time.monotonic(), []

    def say(self, text):
        self.story.append(f"{time.monotonic() - self.begin:7.2f} {text}")

    def later(self, longest, text, fn, *args):
        at = time.monotonic() + self.rng.uniform(0.05, longest)
        heapq.heappush(self.repairs, (at, next(self.order), text, fn, args))

    def check_alive(self):
        """What is not down has not ended by itself."""
        procs.reap()
        for n in self.m.nodes:
            for part in PARTS:
                if (n["name"], part) not in self.down:
                    assert procs.alive(n["procs"][part]), \
                        f"{part} of node {n['name']} has ended:\n{nodes.log_tail(n, part)}"

    # --- what breaks ---

    @contextlib.contextmanager
    def starting_anew(self, part):
        """Whether a part may die now: consensusd not while a key is made."""
        if part not in ("consensusd", "all"):
            yield True
            return
        steady = self.load.rotator.steady
        may = steady.acquire(blocking=False)
        try:
            yield may
        finally:
            if may:
                steady.release()

    def kill(self, node, part):
        with self.starting_anew(part) as may:
            if may:
                self.kill_now(node, part)

    def kill_now(self, node, part):
        self.check_alive()
        parts = PARTS if part == "all" else (part,)
        self.say(f"kill {node} {part}")
        self.down |= {(node, p) for p in parts}
        self.m.kill(node, part)
        self.later(3, f"start {node} {part}", self.start, node, parts)

    def start(self, node, parts):
        for p in parts:
            if (node, p) in self.down:
                self.m.start(node, p)
                self.down.discard((node, p))

    def restart(self, node, part):
        with self.starting_anew(part) as may:
            if may and (node, part) not in self.down:
                self.say(f"restart {node} {part}")
                self.m.signal(node, part, signal.SIGCONT)
                self.m.restart(node, part, wait=False)

    def pause(self, node, part):
        self.say(f"pause {node} {part}")
        self.m.signal(node, part, signal.SIGSTOP)
        self.paused.add((node, part))
        self.later(7, f"continue {node} {part}", self.go_on, node, part)

    def go_on(self, node, part):
        self.m.signal(node, part, signal.SIGCONT)
        self.paused.discard((node, part))

    def backend(self, node):
        """The process of one connection: the server restarts all the others."""
        children = [p for p in procs.family(self.m.node(node)["procs"]["postgres"]) if b": mesh mesh" in title(p)]
        if children:
            self.say(f"kill a backend of {node}")
            procs.send(self.rng.choice(children), signal.SIGKILL)

    def link(self, verb, undo, longest, value=None):
        lk = self.rng.choice(self.m.state["links"])
        ends = lk["a"], lk["b"]
        self.say(f"{verb} {' '.join(ends)}" + (f" {value}" if value is not None else ""))
        self.m.shape_link(verb, *ends, value)
        if undo:
            was = None if value is None else lk["delay_ms"] if verb == "delay" else lk["rate_mbit"] or 0
            self.later(longest, f"{undo} {' '.join(ends)}", self.m.shape_link, undo, *ends, was)

    def application(self):
        programs = [p for flow in self.load.js for p in flow.programs]
        if programs and self.rng.random() < 0.5:
            program = self.rng.choice(programs)
            self.say(f"kill {os.path.basename(program.journal)}")
            program.kill()
            return
        part = self.rng.choice(self.load.all_sinks())
        call = part.call
        if call is not None:
            self.say(f"a sink at {part.node['name']} starts anew")
            call.cancel()

    def fault(self):
        rng = self.rng
        node, daemon = rng.choice([n["name"] for n in self.m.nodes]), rng.choice(nodes.DAEMONS)
        faults = (
            (6, lambda: self.kill(node, daemon)), (3, lambda: self.kill(node, "consensusd")),
            (4, lambda: self.kill(node, "postgres")), (2, lambda: self.kill(node, "all")),
            (2, lambda: self.kill(node, "redis")), (1, lambda: self.pause(node, "redis")),
            (2, lambda: self.backend(node)), (2, lambda: self.restart(node, daemon)),
            (3, lambda: self.pause(node, daemon)), (2, lambda: self.pause(node, "postgres")),
            (4, lambda: self.link("cut", "heal", 4)), (4, lambda: self.link("reset", None, 0)),
            (2, lambda: self.link("delay", "delay", 4, rng.randrange(1, 80))),
            (2, lambda: self.link("rate", "rate", 4, rng.randrange(4, 50))), (3, self.application))
        rng.choices([f for _, f in faults], [w for w, _ in faults])[0]()

    # --- the course of it ---

    def repair(self, until):
        while self.repairs and self.repairs[0][0] <= until:
            _, _, text, fn, args = heapq.heappop(self.repairs)
            self.say(text)
            fn(*args)

    def run(self, seconds):
        next_fault = next_check = time.monotonic()
        while (now := time.monotonic()) < self.begin + seconds:
            self.repair(now)
            self.load.check()
            self.check_alive()
            if now >= next_fault:
                self.fault()
                next_fault = now + self.rng.uniform(0.05, 1.2)
            if now >= next_check:
                self.load.check_confirmed({n for n, part in self.paused if part == "postgres"})
                next_check = now + 0.7
            time.sleep(0.02)

    def end(self):
        """Repairs everything, in the order that it was to be."""
        self.say("all faults end")
        self.repair(float("inf"))
        self.check_alive()


def title(proc):
    try:
        with open(f"/proc/{proc['pid']}/cmdline", "rb") as f:
            return f.read()
    except OSError:
        return b""


def tell(what, chaos):
    print(f"    chaos: {what}, CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}", file=sys.stderr)
    for line in chaos.story[-60:]:
        print(f"    {line}", file=sys.stderr)
    sys.stderr.flush()


def check_all(m, load):
    for pub, s, targets in load.streams:
        check_rows(m.node(s.source), targets, pub.stream_id, pub.last)
    for k in load.kinds:
        k.compare()
    assert load.check_confirmed() == sum(len(ts) for _, _, ts in load.streams)
    check_brief(load.brief, load.brief_sinks)
    check_drained(m)
    check_logs(m)
    assert not glob.glob(f"{m.dir}/*/core*"), "a core dump"


def test_chaos():
    print(f"  chaos: CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}", flush=True)
    with shaped(SHAPE, tenants=list(TENANTS), settings=SETTINGS, redis=True, timeout=120) as m:
        found(m)
        load = Load(m, SEED)
        chaos = Chaos(m, load, SEED)
        load.start()
        try:
            chaos.run(SECONDS)
            chaos.end()
            m.wait_ready(120)
            load.finish()
            chaos.check_alive()
            check_all(m, load)
        except BaseException:
            tell("failed", chaos)
            raise
        finally:
            load.stop()
        counts = [f"{p.last}x{p.size}" for p in load.publishers] + [f"{n} of JavaScript" for n in load.js_counts]
        print(f"  chaos: {len(chaos.story)} events; messages {', '.join([*counts, *map(str, load.kinds)])}; "
              f"{len(load.brief.done)} brief streams; {load.rotator.version} keys", flush=True)
