"""The control group while everything breaks at random: daemons, databases and nodes die or hang, links are cut, leaders
hand over, nodes stop and start.  Updates that were acknowledged are there, once, in the same order everywhere.

CHAOS_SEED=N repeats a schedule (the machine's timing stays its own), CHAOS_SECONDS=N says how long it breaks.
"""
import heapq
import itertools
import os
import random
import signal
import sys
import time

from devmeshlib import nodes, procs
from groups import QUICK, Senders, check_updates, found, has_logged, isolate, said, wait_members
from harness import check_alive, mesh

LONG = bool(os.environ.get("TEST_LONG"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "90" if LONG else "15"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
NAMES = "abcd"
SETTINGS = (*QUICK, "consensusd.raft-log-entries=16")


class Breaker:
    """What is broken, and when it is repaired."""

    def __init__(self, m, seed):
        self.m, self.rng, self.repairs, self.order = m, random.Random(seed), [], itertools.count()
        self.begin, self.story = time.monotonic(), []
        self.cut, self.paused, self.down = None, set(), set()

    def say(self, text):
        self.story.append(f"{time.monotonic() - self.begin:6.2f} {text}")

    def later(self, longest, text, fn, *args):
        at = time.monotonic() + self.rng.uniform(0.1, longest)
        heapq.heappush(self.repairs, (at, next(self.order), text, fn, args))

    def kill(self, node, part):
        parts = (*nodes.DAEMONS, "postgres") if part == "all" else (part,)
        self.say(f"kill {node} {part}")
        self.down |= {(node, p) for p in parts}
        self.m.kill(node, part)
        self.later(3, f"start {node} {part}", self.start, node, parts)

    def start(self, node, parts):
        for p in parts:
            if (node, p) in self.down:
                self.m.start(node, p)
                self.down.discard((node, p))

    def pause(self, node, part):
        self.say(f"pause {node} {part}")
        self.m.signal(node, part, signal.SIGSTOP)
        self.paused.add((node, part))
        self.later(4, f"continue {node} {part}", self.go_on, node, part)

    def go_on(self, node, part):
        self.m.signal(node, part, signal.SIGCONT)
        self.paused.discard((node, part))

    def part_from(self, names):
        if self.cut is None:
            self.say(f"cut off {names}")
            self.cut = names
            isolate(self.m, names)
            self.later(4, f"heal {names}", self.heal)

    def heal(self):
        isolate(self.m, self.cut, "heal")
        self.cut = None

    def order_it(self, node, *argv):
        """A command that may fail now."""
        self.say(f"{node}: {' '.join(argv)}")
        said(self.m, node, "--timeout", "1s", *argv)

    def fault(self):
        rng = self.rng
        node = rng.choice(NAMES)
        faults = ((5, lambda: self.kill(node, "consensusd")), (3, lambda: self.kill(node, "postgres")),
                  (3, lambda: self.kill(node, "all")), (1, lambda: self.kill(node, "transportd")),
                  (1, lambda: self.kill(node, "routerd")), (2, lambda: self.pause(node, "consensusd")),
                  (2, lambda: self.pause(node, "postgres")), (3, lambda: self.part_from(node)),
                  (1, lambda: self.part_from(node + rng.choice(NAMES))),
                  (2, lambda: self.order_it(node, "raft", "transfer")), (1, lambda: self.order_it(node, "stop")),
                  (2, lambda: self.order_it(node, "start")))
        rng.choices([f for _, f in faults], [w for w, _ in faults])[0]()

    def check_alive(self):
        """What is not down has not ended by itself."""
        procs.reap()
        for n in self.m.nodes:
            for part in nodes.DAEMONS:
                if (n["name"], part) not in self.down:
                    assert procs.alive(n["procs"][part]), \
                        f"{part} of node {n['name']} has ended:\n{nodes.log_tail(n, part)}"

    def repair(self, until):
        while self.repairs and self.repairs[0][0] <= until:
            _, _, text, fn, args = heapq.heappop(self.repairs)
            self.say(text)
            fn(*args)

    def run(self, seconds, check):
        following = time.monotonic()
        while (now := time.monotonic()) < self.begin + seconds:
            self.repair(now)
            self.check_alive()
            check()
            if now >= following:
                self.fault()
                following = now + self.rng.uniform(0.2, 1.5)
            time.sleep(0.02)
        self.say("all faults end")
        self.repair(float("inf"))
        for n in NAMES:
            self.order_it(n, "start")


def test_raftchaos():
    print(f"  raftchaos: CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}", flush=True)
    with mesh(len(NAMES), "full", settings=SETTINGS, timeout=120) as m:
        found(m, options=("--voters", "3"), vote=3)
        breaker = Breaker(m, SEED)
        try:
            with Senders(m, NAMES, patience=180) as senders:
                breaker.run(SECONDS, senders.count)
                sent = senders.finish()
            m.wait_ready(120)
            wait_members(m, NAMES, NAMES)
            got = check_updates(m, sent)
            check_alive(m)
            for n in NAMES:
                assert not has_logged(m, n, "joins again"), f"{n} has lost its replica of the group"
        except BaseException:
            print("".join(f"    {line}\n" for line in breaker.story[-40:]), file=sys.stderr, flush=True)
            raise
        print(f"  raftchaos: {len(breaker.story)} events; {len(sent)} updates acknowledged, {len(got)} there",
              flush=True)
