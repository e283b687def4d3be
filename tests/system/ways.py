"""Several paths between two nodes, and which of them a stream takes, by what its first links carry."""
import threading
import time

from harness import wait_until
from lanes import conn_of, settled

CONTROL, PRIORITY = 0, 1  # lanes

# Two paths from a to d that share nothing.
SQUARE = "a -> b\na -> c\nb -> d\nc -> d\n"
SAMPLE_S = 0.02
WINDOW_S = 0.2
MOST = 0.75  # of what is carried: this is the way
LEAST_BYTES = 5000  # in a window: below it there is nothing to tell


class Ways(threading.Thread):
    """Samples what a node's links to these neighbours have carried away from it, until the block ends.  The node
    dials them."""

    def __init__(self, m, source, hops):
        super().__init__(daemon=True)
        self.m, self.source, self.hops = m, source, hops
        for hop in hops:
            settled(m, source, hop)
        self.aside = {hop: {conn_of(m, source, hop, lane).id for lane in (CONTROL, PRIORITY)} for hop in hops}
        self.samples = []  # (time, [bytes over each hop])
        self.changes = []  # (time, hop): from then on most went over it
        self.error = None
        self.stopping = threading.Event()

    def carried(self):
        """By lanes for bulk data: what the stream's group says goes in others, takes a path by other costs, and for
        short messages it is as much as they are."""
        return [sum(c.up_bytes for c in self.m.conns(self.source, hop) if c.id not in aside)
                for hop, aside in self.aside.items()]

    def way(self, now):
        """The hop that takes most of what was sent in the last window, or None."""
        then = next(s for s in self.samples if s[0] >= now - WINDOW_S)[1]
        sent = [b - a for a, b in zip(then, self.samples[-1][1])]
        if sum(sent) >= LEAST_BYTES:
            for hop, count in zip(self.hops, sent):
                if count > MOST * sum(sent):
                    return hop
        return None

    def run(self):
        try:
            while not self.stopping.wait(SAMPLE_S):
                now = time.monotonic()
                self.samples.append((now, self.carried()))
                self.samples = self.samples[-2 * int(WINDOW_S / SAMPLE_S):]
                way = self.way(now)
                if way is not None and (not self.changes or self.changes[-1][1] != way):
                    self.changes.append((now, way))
        except Exception as e:  # shown by whoever waits for us
            self.error = e

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.join(10)

    @property
    def now(self):
        """The hop that is the way; it stays when there is little to tell."""
        if self.error is not None:
            raise self.error
        return self.changes[-1][1] if self.changes else None

    def wait(self, hop, seconds=None):
        """Until that is the way."""
        wait_until(f"the stream to go over {hop}", lambda: self.now == hop, seconds)
