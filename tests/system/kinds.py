"""Streams of other kinds than the plain one, as parts of a load: rows for databases, messages that are refused, that
are given up, and what has to be true of each while all breaks, and in the end.
"""
import contextlib
import random
import re

import grpc
import psycopg2

import mesh_pb2 as pb
from api import Api, open_stream
from flow import Sink, payload
from harness import check_rows, query, wait_until
from rowload import EndlessTally, check_tally, tables
from streamload import EndlessPublisher, retried

ATTEMPTS = 3  # until a message is a dead letter
LETTERS_PAGE = 1000
RESOLVED = 60  # letters of which some are delivered once more in the end, the others discarded
GOOD, LATE, BAD, DEAD = "good", "late", "bad", "dead"


class Kind:
    """One stream with its publisher and sinks.  A kind says more."""

    def __init__(self, m, source, targets, stream, publisher, sinks):
        self.m, self.source, self.targets = m, m.node(source), [m.node(t) for t in targets]
        self.stream, self.publisher, self.sinks = stream, publisher, sinks

    @property
    def parts(self):
        return [*self.sinks, self.publisher]

    def start(self):
        for part in self.parts:
            part.start()

    def check(self):
        for part in self.parts:
            if part.error is not None:
                raise part.error

    def stop(self):
        for part in self.parts:
            part.stopping.set()
        for s in self.sinks:
            s.stop()

    def finish(self):
        self.publisher.finish()

    def done(self):
        p = self.publisher
        return p.confirmed == p.last and all(s.got(self.stream) == p.last for s in self.sinks)

    def state(self):
        return (f"{type(self).__name__} {self.stream}: {self.publisher.confirmed}/{self.publisher.last}, "
                f"{[s.got(self.stream) for s in self.sinks]}")

    def processed(self, node, more="0"):
        """What the node has processed, and more of the same moment; None: its database is away."""
        with contextlib.suppress(psycopg2.Error):
            return query(node, f"SELECT coalesce(max(committed_seq), 0), ({more}) FROM stream_offsets WHERE "
                         "stream_id = ulid_uuid(%s) AND node_id = node_id(%s)", self.stream, node["node_id"])[0]
        return None

    @property
    def confirmed(self):
        return self.publisher.confirmed

    def check_confirmed(self, away=()):
        """What was confirmed is processed at every target whose database is not away."""
        for t in self.targets:
            if t["name"] not in away:
                confirmed = self.confirmed
                row = self.processed(t)
                assert row is None or row[0] >= confirmed, \
                    f"{self.stream} at {t['name']}: {confirmed} confirmed, {row[0]} processed"

    def compare(self):
        check_rows(self.source, self.targets, self.stream, self.publisher.last)

    def __str__(self):
        return f"{self.publisher.last} of {type(self).__name__}"


def log_of(node, stream, state):
    """Seqs that the node's delivery log has in this state, of itself as the target."""
    return [seq for seq, in query(node, "SELECT seq FROM delivery_log_messages WHERE stream_id = %s AND dst_node = %s "
                                  "AND state = %s ORDER BY seq", stream, node["node_id"], state)]


def check_log(node, stream, last, failed, or_failed=()):
    """The target's delivery log has all messages once: these failed, and some of or_failed; all others done."""
    failed, either = set(failed), set(failed) | set(or_failed)
    got = []

    def same():
        got[:] = log_of(node, stream, "failed"), log_of(node, stream, "done")
        return failed <= set(got[0]) <= either and sorted(got[0] + got[1]) == list(range(1, last + 1))

    try:
        wait_until(f"the delivery log of {node['name']}", same, 60)
    except AssertionError as e:
        raise AssertionError(f"{e}: of {last} messages of {stream} it has {len(got[0])} failed and {len(got[1])} done; "
                             f"failed, and should not: {sorted(set(got[0]) - either)[:20]}; should have: "
                             f"{sorted(failed - set(got[0]))[:20]}") from None


class Rows(Kind):
    """Each message is a row in a table of every target, in its order."""

    def __init__(self, m, source, targets, tenant, rate, window):
        for t in targets:
            tables(m, t)
        stream = retried(lambda: open_stream(m.node(source), tenant, list(targets), handler="db")).stream_id
        super().__init__(m, source, targets, stream, EndlessTally(m.node(source), stream, 200, rate, window), [])

    def check_confirmed(self, away=()):
        for t in self.targets:
            if t["name"] in away:
                continue
            confirmed = self.publisher.confirmed
            row = self.processed(t, f"SELECT count(*) FROM public.tally WHERE stream = '{self.stream}'")
            if row is not None:
                assert row[0] >= confirmed, f"{self.stream} at {t['name']}: {confirmed} confirmed, {row[0]} processed"
                # Rows are done with the handler's position, before the stream's.
                assert row[1] >= row[0], f"{self.stream} at {t['name']}: {row[0]} processed, {row[1]} rows"

    def compare(self):
        for t in self.targets:
            check_tally(self.m, t["name"], self.stream, self.publisher.last)
        super().compare()


# --- what is refused ---

def fate_of(seq):
    """What becomes of a message: processed at once or at its second attempt, dead at once or at its last attempt."""
    if seq % 13 == 6:
        return BAD
    if seq % 31 == 5:
        return DEAD
    return LATE if seq % 17 == 3 else GOOD


def attempts_of(seq):
    """After which a message is a dead letter."""
    return ATTEMPTS if fate_of(seq) == DEAD else 1


def action_of(seq):
    """What is done with a dead letter."""
    return "discard" if seq % 3 == 0 else "replay"


class Judge(Sink):
    """Refuses messages by their numbers, and some dead letters when they are delivered once more.  What it says may be
    lost with its connection, so it goes by what the node has, not by a position of its own: it may get a message again,
    and says the same of it."""

    def __init__(self, node, tenant, stream, batch=16):
        super().__init__(node, tenant, [stream], batch=batch)
        self.again, self.replayed = None, []

    def resumed(self):
        return []

    def session(self):
        self.again = None
        super().session()

    def answer(self, m):
        if m.payload != payload(m.stream_id, m.seq, self.size):
            raise AssertionError(f"stream {m.stream_id}: message {m.seq} was changed: {m.payload[:80]!r}")
        good = pb.StreamSelector(acks=[pb.StreamAck(stream_id=m.stream_id, seq=m.seq)])
        if m.dead_letter and m.seq % 3 == 1 and m.attempt == attempts_of(m.seq) + 1:
            return pb.StreamSelector(nacks=[pb.StreamNack(stream_id=m.stream_id, seq=m.seq, reason="again")])
        if m.dead_letter:
            self.replayed.append(m.seq)
            return good
        if self.again is not None and m.seq > self.again:
            return pb.StreamSelector()  # was on its way when the one before was refused: it comes again behind that
        if m.seq > self.got(m.stream_id) + 1 or (self.again is not None and m.seq != self.again):
            raise AssertionError(f"stream {m.stream_id}: message {m.seq} came after {self.got(m.stream_id)}, "
                                 f"refused was {self.again}")
        self.again = None
        self.position[m.stream_id] = max(m.seq, self.got(m.stream_id))
        fate = fate_of(m.seq)
        if fate == GOOD or (fate == LATE and m.attempt > 1):
            return good
        if fate == LATE or (fate == DEAD and m.attempt < ATTEMPTS):
            self.again = m.seq
        return pb.StreamSelector(nacks=[pb.StreamNack(stream_id=m.stream_id, seq=m.seq, reason=fate,
                                                      dead_letter=fate == BAD)])


class LetterPublisher(EndlessPublisher):
    """Told apart are messages that were processed and dead letters; where those are replayed meanwhile, one may have
    been processed after all before the source hears of it."""

    def __init__(self, target, *args, replayed=False):
        super().__init__(*args)
        self.target, self.replayed = target, replayed

    def may_fail(self, r):
        return fate_of(r.seq) in (BAD, DEAD) and list(r.failed_nodes) == [self.target]

    def take(self, r):
        super().take(r)
        assert self.replayed or not r.success or fate_of(r.seq) not in (BAD, DEAD), \
            f"message {r.seq} of {self.stream_id} is a dead letter, and is said to be processed"


class Letters(Kind):
    """Messages that are refused and come again, or are dead letters."""

    REPLAYED = False  # while they come

    def __init__(self, m, source, target, tenant, rate, window):
        node = m.node(target)
        stream = retried(lambda: open_stream(m.node(source), tenant, [target], max_attempts=ATTEMPTS,
                                             retry_ms=20)).stream_id
        super().__init__(m, source, [target], stream,
                         LetterPublisher(node["node_id"], m.node(source), stream, 200, rate, window,
                                         replayed=self.REPLAYED),
                         [Judge(node, tenant, stream)])

    def listed(self, api):
        letters = []
        while True:
            page = api.ListStreamDeadLetters(pb.StreamDeadLetterReq(
                stream_id=self.stream, limit=LETTERS_PAGE, after=letters[-1].position if letters else 0), timeout=20)
            letters.extend(page.letters)
            if len(page.letters) < LETTERS_PAGE:
                return letters

    def dead(self):
        return [n for n in range(1, self.publisher.last + 1) if fate_of(n) in (BAD, DEAD)]

    def resolve(self, api, seqs):
        """What is to be done with these is asked for: another time, too, if it is refused once more."""
        for seq in seqs:
            api.ResolveStreamDeadLetter(pb.ResolveStreamDeadLetterReq(
                stream_id=self.stream, seq=seq, action=action_of(seq)), timeout=20)

    def compare(self):
        [judge], [node], dead = self.sinks, self.targets, self.dead()
        check_log(node, self.stream, self.publisher.last, dead)
        with Api(node) as api:
            letters = {x.seq: x for x in self.listed(api)}
            assert sorted(letters) == dead, f"dead letters: {len(letters)} of {len(dead)}, " \
                f"wrong: {sorted(set(letters) ^ set(dead))[:20]}"
            for seq, x in letters.items():
                assert (x.error, x.attempts) == (fate_of(seq), attempts_of(seq)), str(x)
            chosen = sorted(random.Random(len(dead)).sample(dead, min(len(dead), RESOLVED)))
            self.resolve(api, chosen)
            again = [n for n in chosen if n % 3 == 1]
            wait_until(f"{len(again)} dead letters to be refused once more", lambda: self.check() or sorted(
                x.seq for x in self.listed(api) if x.error == "again") == again)
            self.resolve(api, again)
            left = sorted(set(dead) - set(chosen))
            wait_until(f"{len(chosen)} dead letters to be gone",
                       lambda: self.check() or [x.seq for x in self.listed(api)] == left)
        replayed = [n for n in chosen if action_of(n) == "replay"]
        assert sorted(judge.replayed) == replayed, f"{judge.replayed} processed after all, and not {replayed}"
        check_log(node, self.stream, self.publisher.last, sorted(set(dead) - set(replayed)))

    def __str__(self):
        return f"{super().__str__()} ({len(self.dead())} dead)"


# --- what is given up ---

class LosingPublisher(EndlessPublisher):
    """Hears which messages were given up, and goes on behind them."""

    GIVEN_UP = re.compile(r"message (\d+) of stream \S+ was given up")

    def __init__(self, *args):
        super().__init__(*args)
        self.lost, self.processed = set(), 0

    def take(self, r):
        super().take(r)
        self.processed = max(self.processed, r.seq)

    def may_end(self, e):
        said = self.GIVEN_UP.match(e.details() or "")
        if e.code() != grpc.StatusCode.DATA_LOSS or said is None:
            return False
        seq = int(said[1])
        # One that comes before those ahead of it is asked for again.
        if seq == self.confirmed + 1:
            self.lost.add(seq)
            self.confirmed = seq
        return True


class GapSink(Sink):
    """Keeps which messages are missing: in the end the target's delivery log has to say the same.  How many are missing
    a message says, too (skipped), but only as its node knows since it was started, and since it has said so to another
    connection; strict, if it knew: m.skipped is the length of the gap."""

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.gaps = []

    def accept(self, m):
        last = self.got(m.stream_id)
        if m.seq > last + 1:
            self.gaps.extend(range(last + 1, m.seq))
            self.position[m.stream_id] = m.seq - 1
        super().accept(m)


class GivenUp(Kind):
    """What can't be delivered soon is given up: its publisher is told, its target sees the gap."""

    def __init__(self, m, source, target, tenant, rate, window, keep_ms):
        stream = retried(lambda: open_stream(m.node(source), tenant, [target], overflow="drop",
                                             retention_ms=keep_ms)).stream_id
        super().__init__(m, source, [target], stream, LosingPublisher(m.node(source), stream, 200, rate, window),
                         [GapSink(m.node(target), tenant, [stream], batch=16)])

    @property
    def confirmed(self):
        return self.publisher.processed

    def missing(self):
        """What its sink has not got: the end may be given up, too."""
        [sink] = self.sinks
        return [*sink.gaps, *range(sink.got(self.stream) + 1, self.publisher.last + 1)]

    def done(self):
        p = self.publisher
        return p.confirmed == p.last and set(self.missing()) <= p.lost

    def compare(self):
        missing, lost = self.missing(), self.publisher.lost
        assert len(missing) < self.publisher.last, "nothing arrived"
        assert set(missing) <= lost, f"confirmed, and not there: {sorted(set(missing) - lost)[:20]}"
        # What it got early, forgot in a crash and was given up meanwhile is a gap, though it had it; its publisher heard
        # that it is lost.
        check_log(self.targets[0], self.stream, self.publisher.last, missing, lost)

    def __str__(self):
        return f"{super().__str__()} ({len(self.publisher.lost)} lost, {len(self.missing())} not there)"
