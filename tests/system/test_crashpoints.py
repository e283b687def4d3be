"""consensusd dies at every point where it has stored, sent or answered something, or is about to; nothing is lost,
doubled or reordered, and what was confirmed was processed.

Source and target of a stream die at the same time, each at its own points, again and again, while a publisher has
hundreds of messages in flight, rows for the target's database too, and streams come and go, are refused, lose messages,
change their targets and publishers, make dead letters, updates are agreed on and told (crashload.py).  After each death
the daemon is started again, and what was in flight has to arrive before the next one.  A point that is never reached
fails the test: the points, and who must reach them, are in tests/crash/points.def.

CRASH_SEED=N repeats the passes that are chosen at random, CRASH_POINTS=TEXT takes only points with this in their name;
with TEST_LONG=1 all points are passed at random times, too.
"""
import contextlib
import os
import pwd
import random
import shutil
import subprocess
import sys
import threading
import time

import psycopg2

from crashfile import CrashFile
from crashload import RELAY, SOURCE, TARGET, TENANTS, Load
from devmeshlib import nodes, procs
from devmeshlib.mesh import ROOT, Mesh
from groups import QUICK, Senders, check_updates, found, said
from harness import Flow, check_alive, check_rows, mesh, query, shaped, wait_until
from rowload import check_tally, tables
from streamload import check_brief, check_drained, check_logs

LONG = bool(os.environ.get("TEST_LONG"))
SEED = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
ONLY = os.environ.get("CRASH_POINTS", "")
SIDES = {SOURCE: "s", TARGET: "t"}
# The source, a relay that is a target, too, the target, and a node that joins and leaves the control group.  The first
# link is so slow that messages are on their way to a target when that hears that it is none any more.
SHAPE = """a -> b rate=20
b -> c
b -> d
"""
# Snapshots take the place of logs soon.
SETTINGS = (*QUICK, "consensusd.raft-log-entries=64")
REACH_S, EITHER_S, NUDGE_S = 60, 8, 2
QUIET_S = 100  # more than a group of streams has to be without any until it is dissolved
TOPOLOGY_S = 15  # more than a change of the topology waits until it is told
LATER_MAX = 200  # the latest pass that is waited for


def program():
    """Built by whoever wants it."""
    build = os.path.relpath(os.environ.get("MESH_BUILD", "build/gcc"), ROOT)
    cc, _, san = os.path.basename(build).partition("-")
    path = f"{build}/tests/crash/consensusd"
    subprocess.run(["make", "-s", "DEPS=no", f"CC={cc}", *([f"SAN={san.replace('-', ',')}"] if san else []), path],
                   cwd=ROOT, check=True)
    return f"{ROOT}/{path}"


def arm_mesh(m, names):
    """Gives these nodes the consensusd that can die, and a file each."""
    shutil.copyfile(program(), f"{m.state['bin']}/consensusd.new")
    os.chmod(f"{m.state['bin']}/consensusd.new", 0o755)
    os.replace(f"{m.state['bin']}/consensusd.new", f"{m.state['bin']}/consensusd")
    user = nodes.mesh_user(m.state) or pwd.getpwuid(os.geteuid())
    files = {}
    for n in names:
        files[n] = CrashFile(f"{m.node(n)['dir']}/crash", user.pw_uid, user.pw_gid)
        m.node(n)["env"] = {"MESH_CRASH_FILE": files[n].path}
    m.save()
    for n in names:
        m.restart(n, "consensusd", wait=False)
        wait_until(f"the points of {n}", files[n].begun)
    m.wait_ready()
    return files


class Killer(threading.Thread):
    """Lets one node's daemon die at one point after the other."""

    def __init__(self, m, node, file, load, plan, others):
        super().__init__(daemon=True)
        self.m, self.node, self.file, self.load = Mesh.load(m.dir), node, file, load
        self.plan, self.others, self.story, self.error = plan, others, [], None
        self.begin, self.deaths, self.restarted = time.monotonic(), 0, False

    def say(self, text):
        self.story.append(f"{time.monotonic() - self.begin:7.2f} {self.node} {text}")

    def later(self, name):
        """The pass at which it dies the second time: within about a second, as it goes now."""
        before = self.file.passed(name)
        time.sleep(0.5)
        return random.Random(f"{SEED} {name}").randrange(2, 3 + min(LATER_MAX, 2 * (self.file.passed(name) - before)))

    def nudge(self, name, count):
        """What happens seldom is made to happen: nodes and links are told anew, it leads, it starts anew."""
        if name.startswith(("put_node:", "put_topology", "put_incarnation")):
            self.say("restart routerd")
            self.m.restart(self.node, "routerd", wait=False)
        elif count % 2 == 0 and not name.startswith("put_config_clear"):
            said(self.m, self.node, "--timeout", "2s", "raft", "transfer", self.node)
        else:
            self.say("restart")
            self.m.restart(self.node, "consensusd", wait=False)
            self.restarted = True

    def reach(self, name, either):
        """Until the daemon has died of it; False: the other one has, which is as good."""
        self.restarted = False
        end, nudged, count = time.monotonic() + (EITHER_S if either else REACH_S), time.monotonic(), 0
        while not self.file.died(name):
            self.load.check()
            now = time.monotonic()
            if now > end:
                self.file.disarm()
                if either:
                    return False
                raise AssertionError(f"{name} is never reached at {self.node}")
            if now - nudged > (TOPOLOGY_S if "topology" in name else NUDGE_S):
                self.nudge(name, count)
                nudged, count = now, count + 1
            time.sleep(0.005)
        return True

    def die(self, name, number):
        either = "e" in self.file.names[name][1]
        if number == 0:
            number = self.later(name)
        self.say(f"{name} {number}")
        self.file.arm(name, number)
        if not self.reach(name, either):
            return
        self.others.add(name)
        self.deaths += 1
        proc = self.m.node(self.node)["procs"]["consensusd"]
        # It may have been dying when it was started anew.
        assert self.restarted or not procs.wait_gone([proc], 20), f"consensusd of {self.node} lives after {name}"
        self.load.check_confirmed()  # while nobody can make up for it
        self.m.start(self.node, "consensusd")
        self.load.recover(f"{name} at {self.node}")
        self.say("recovered")

    def run(self):
        try:
            for name, number in self.plan:
                self.die(name, number)
        except Exception as e:  # shown by whoever waits for us
            self.say(f"fails: {type(e).__name__}: {e}")
            self.error = e


def plan_of(file, node):
    """Each point at its first pass; then, in the long run all of them, otherwise those the seed chooses, later."""
    names = [n for n in file.points(SIDES[node]) + file.points("e") if ONLY in n]
    assert names or ONLY, f"{node} has no points"
    later = names if LONG else random.Random(f"{SEED} {node}").sample(names, len(names) // 6)
    return [(n, 1) for n in names] + [(n, 0) for n in later]


def die_in_quiet(m, killers, load):
    """Points that are reached when nothing dies for a while: at the target in the long run, since that waits longer."""
    for name in (n for n in killers[0].file.points("d") if ONLY in n):
        load.idle()
        left = [k for k in killers if LONG or k.node == SOURCE]
        for k in left:
            k.file.arm(name, 1)

        def died(name=name, left=left):
            load.check()
            for k in [k for k in left if k.file.died(name)]:
                left.remove(k)
                k.deaths += 1
                assert not procs.wait_gone([Mesh.load(m.dir).node(k.node)["procs"]["consensusd"]], 20)
                m.start(k.node, "consensusd")
            return not left

        wait_until(f"{name} in quiet", died, QUIET_S)
        load.recover(f"{name} in quiet")


def check_all(m, load, senders):
    check_rows(load.source, load.targets, load.stream, load.publisher.last)
    load.check_confirmed()
    check_tally(m, TARGET, load.rows.stream_id, load.rows.last)
    for k in load.kinds:
        k.compare()
    check_brief(load.brief, {TARGET: load.brief_sink})
    check_drained(m)
    check_updates(m, senders.finish(), names=[SOURCE, RELAY, TARGET], at=RELAY)
    check_logs(m)


def test_points():
    print(f"  crashpoints: CRASH_SEED={SEED}", flush=True)
    with shaped(SHAPE, tenants=list(TENANTS), redis=True, settings=SETTINGS) as m:
        found(m)
        tables(m, TARGET)
        files = arm_mesh(m, SIDES)
        load, reached = Load(m, SEED), set()
        killers = [Killer(m, n, files[n], load, plan_of(files[n], n), reached) for n in SIDES]
        with Senders(m, SIDES, pause=0.1) as senders:
            load.start()
            try:
                load.recover("the start")
                for k in killers:
                    k.start()
                for k in killers:
                    k.join()
                    if k.error is not None:
                        raise k.error
                m.state.update(Mesh.load(m.dir).state)  # the processes are others now
                die_in_quiet(m, killers, load)
                unreached = [n for n in files["a"].points("e") if ONLY in n and n not in reached]
                assert not unreached, f"never reached: {unreached}"
                load.finish()
                m.wait_ready()
                check_alive(m)
                check_all(m, load, senders)
            except BaseException:
                for line in (line for k in killers for line in k.story[-30:]):
                    print(f"    {line}", file=sys.stderr)
                raise
            finally:
                load.stop()
        deaths = sum(k.deaths for k in killers)
        print(f"  crashpoints: {deaths} deaths, {load.publisher.last} messages, {load.rows.last} rows, "
              f"{', '.join(map(str, load.kinds))}, {len(load.brief.done)} brief streams", flush=True)


def unmigrated(m, node):
    """Its consensusd is down, and its database as it was before the first start."""
    m.kill("a", "consensusd")
    with contextlib.closing(psycopg2.connect(node["database"])) as db, db.cursor() as cursor:
        cursor.execute("DROP SCHEMA mesh CASCADE")
        db.commit()
    os.unlink(f"{node['dir']}/state/consensusd.witness")


def test_migrations():
    """It dies before and after each migration is sent to the database; the next start goes on from there."""
    with mesh(1) as m:
        node = m.node("a")
        versions = query(node, "SELECT version FROM schema_version ORDER BY version")
        file = arm_mesh(m, "a")["a"]
        for number in range(1, len(versions) + 1):
            for name in ("migrate:before", "migrate:after"):
                unmigrated(m, node)
                file.arm(name, number)
                m.start("a", "consensusd")
                wait_until(f"{name} {number}", lambda name=name: file.died(name))
                assert not procs.wait_gone([m.node("a")["procs"]["consensusd"]], 20)
                m.start("a", "consensusd")
                m.wait_ready()
                assert query(node, "SELECT version FROM schema_version ORDER BY version") == versions
        # It is a database as any other.
        with Flow(m, "a", ["a"], 300) as f:
            f.finish()
        check_logs(m)
