"""Targets of an open stream come and go while it is published to, and while daemons die."""
import random
import threading

import api
from flow import Publisher, Sink
from groups import ctl, ctl_json, refused, said
from harness import mesh, query, wait_until

MESH = {"count": 4, "shape": "full"}
CHANGES = 24


class Late(Sink):
    """The first message that comes of a stream is where it begins; a target that was removed may begin once more
    further on."""

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.firsts = []

    def accept(self, m):
        last = self.position.get(m.stream_id, 0)
        if m.seq > last + 1:
            self.firsts.append(m.seq)
            self.position[m.stream_id] = m.seq - 1
        super().accept(m)


class Steady:
    """A stream from a with a publisher that goes on until it is told to end."""

    def __init__(self, m, targets, sinks):
        self.m, self.a = m, m.node("a")
        self.stream = api.open_stream(self.a, "acme", list(targets)).stream_id
        self.sinks = {n: Late(m.node(n), "acme") for n in sinks}
        self.publisher = Publisher(self.a, self.stream, 1 << 40, window=64)

    def __enter__(self):
        for part in [*self.sinks.values(), self.publisher]:
            part.start()
        return self

    def __exit__(self, *_):
        self.publisher.stopping.set()
        for s in self.sinks.values():
            s.stop()
        self.publisher.join(10)

    def check(self):
        for part in [*self.sinks.values(), self.publisher]:
            if part.error is not None:
                raise part.error

    def goes_on(self, count=200):
        """That many more are confirmed."""
        goal = self.publisher.confirmed + count
        wait_until(f"message {goal} to be confirmed", lambda: self.check() or self.publisher.confirmed >= goal)

    def change(self, *words):
        """As an operator's script would: again until it is done, whatever dies meanwhile."""
        def changed():
            s = said(self.m, "a", "-j", "stream", "targets", self.stream, *words)
            return s.code == 0

        wait_until(f"the change {' '.join(words)}", changed)

    def targets(self):
        """As the source lists them: states by name."""
        names = {n["node_id"]: n["name"] for n in self.m.nodes}
        info = next(s for s in ctl_json(self.m, "a", "streams")
                    if s["stream_id"] == self.stream and s["role"] == "source")
        return {names[t["node_id"]]: t["state"] for t in info["targets"]}

    def first_at(self, node):
        rows = query(self.m.node(node), "SELECT coalesce((meta->>'first_seq')::bigint, 1), state FROM mesh.streams "
                     "WHERE stream_id = mesh.ulid_uuid(%s)", self.stream)
        return rows[0] if rows else None

    def finish(self, targets):
        """The end of what was published reaches these targets, and nothing is left anywhere."""
        self.publisher.stopping.set()
        self.publisher.join(30)
        last = next(s for s in ctl_json(self.m, "a", "streams")
                    if s["stream_id"] == self.stream and s["role"] == "source")["next_seq"] - 1
        for n in targets:
            wait_until(f"message {last} at {n} (at {self.sinks[n].got(self.stream)})",
                       lambda n=n: self.check() or self.sinks[n].got(self.stream) == last)
        for n in targets:
            wait_until(f"nothing in the inbox of {n}", lambda n=n: query(
                self.m.node(n), "SELECT count(*) FROM inbox_messages WHERE stream_id = %s AND processed IS NULL",
                self.stream)[0][0] == 0)
        wait_until("nothing in the outbox", lambda: query(
            self.a, "SELECT count(*) FROM outbox_messages WHERE stream_id = %s AND status <> 'done'",
            self.stream)[0][0] == 0)
        return last


def test_added_in_mid_stream(m):
    with Steady(m, "b", "bc") as s:
        s.goes_on()
        before = s.publisher.confirmed
        ctl(m, "a", "stream", "targets", s.stream, "--add", "c")
        s.goes_on(400)
        first, state = s.first_at("c")
        assert state == 0 and first > before, (first, before)
        last = s.finish("bc")
        assert s.sinks["c"].firsts == [first] and s.sinks["b"].firsts == [], s.sinks["c"].firsts
        rows = query(m.node("c"), "SELECT min(seq), max(seq), count(*) FROM delivery_log_messages "
                     "WHERE stream_id = %s AND state = 'done'", s.stream)
        assert rows == [(first, last, last - first + 1)], (rows, first, last)
        # What was there before says nothing of it.
        early = ctl_json(m, "a", "message", s.stream, "1")
        assert [t["node_id"] for t in early["targets"]] == [m.node("b")["node_id"]], early
        ctl(m, "a", "close", s.stream)


def test_removed_while_down(m):
    """Publishers go on at once, without it; it hears of it when it is back."""
    with Steady(m, "bc", "bc") as s:
        s.goes_on()
        m.kill("b", "all")
        s.sinks["b"].stop()
        stuck = wait_until("publishers to wait for b", lambda: s.check() or (
            s.publisher.offered >= s.publisher.confirmed + 64 and s.publisher.confirmed))
        ctl(m, "a", "stream", "targets", s.stream, "--remove", "b")
        wait_until("them to go on", lambda: s.check() or s.publisher.confirmed >= stuck + 500)
        assert s.targets() == {"b": "gone", "c": "open"}
        refused(m, "a", "stream", "targets", s.stream, "--remove", "c", text="close it instead")
        m.restart("a", "consensusd")
        s.goes_on()
        m.start("b", "all", wait=True)
        wait_until("b to know", lambda: s.targets() == {"c": "open"})
        assert s.first_at("b")[1] == 2
        assert query(m.node("b"), "SELECT count(*) FROM inbox_messages WHERE stream_id = %s", s.stream)[0][0] == 0
        assert s.stream not in {x["stream_id"] for x in ctl_json(m, "b", "streams")}
        s.goes_on()
        # It comes back, and begins there.
        s.sinks["b"] = Late(m.node("b"), "acme")
        s.sinks["b"].start()
        ctl(m, "a", "stream", "targets", s.stream, "--add", "b")
        s.goes_on()
        s.finish("bc")
        assert s.sinks["b"].firsts == [s.first_at("b")[0]], s.sinks["b"].firsts
        ctl(m, "a", "close", s.stream)


def test_subscriber_of_a_removed_target(m):
    with Steady(m, "bc", "c") as s:
        sink = Sink(m.node("b"), "acme", [s.stream])
        sink.start()
        s.goes_on()
        ctl(m, "a", "stream", "targets", s.stream, "--remove", "b")
        wait_until("the subscription to end", lambda: sink.error)
        assert "no target of stream" in str(sink.error), sink.error
        s.goes_on()
        s.finish("c")
        sink.stop()
        ctl(m, "a", "close", s.stream)


def test_source_killed_around_changes(m):
    """Each change is there or not, never in part; what every target gets has no hole but where it was removed."""
    with Steady(m, "b", "bcd") as s:
        done, rng = threading.Event(), random.Random(7)

        def kill():
            while not done.wait(rng.uniform(0.02, 0.3)):
                m.kill("a", "consensusd")
                m.start("a", "consensusd")

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            for i in range(CHANGES):
                s.change("--add", "cd"[i % 2], *(("--remove", "dc"[i % 2]) if i > 0 else ()))
                s.goes_on(50)
        finally:
            done.set()
            killer.join(60)
        m.wait_ready()
        s.change("--add", "c")
        s.goes_on()
        wait_until("all to know", lambda: s.targets() == dict.fromkeys("bcd", "open"))
        s.finish("bcd")
        assert s.sinks["b"].firsts == []
        for n in "cd":
            assert s.sinks[n].firsts[-1] == s.first_at(n)[0], (n, s.sinks[n].firsts, s.first_at(n))
        ctl(m, "a", "close", s.stream)
        wait_until("the stream to end", lambda: s.stream not in {
            x["stream_id"] for n in "abcd" for x in ctl_json(m, n, "streams")})


def test_target_killed_around_changes():
    with mesh(3, "full") as m, Steady(m, "b", "bc") as s:
        for i in range(6):
            m.kill("c", "consensusd")
            s.change("--remove" if i % 2 else "--add", "c")
            m.start("c", "consensusd")
            s.goes_on(50)
            m.kill("c", "consensusd")
            m.start("c", "consensusd", wait=i % 3 == 0)
        s.change("--add", "c")
        s.goes_on()
        s.finish("bc")
        assert s.sinks["c"].firsts[-1] == s.first_at("c")[0]
