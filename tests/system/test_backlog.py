"""A backlog that is many times what consensusd may hold in memory: it lies in the database, others go on beside it,
and it arrives whole when its target is back."""
import time

import api
from flow import Publisher, Sink
from harness import Flow, mesh, wait_all, wait_until
from lanes import metric
from test_load import check_flows, rate_of

MEMORY = 16 << 20  # the least that may be set
SIZE, COUNT = 1 << 20, 304
# What a process needs beside messages, and the copies that libpq makes of rows on their way.
RESIDENT = 5 * MEMORY
NOT_STARVED = 10  # what goes on beside the backlog may be so much slower: all three nodes share one machine's disk


class Most:
    """The most memory that consensusd of a node had, each time it is looked at."""

    def __init__(self, m, name):
        self.m, self.name, self.bytes = m, name, 0

    def look(self):
        with open(f"/proc/{self.m.node(self.name)['procs']['consensusd']['pid']}/statm", encoding="ascii") as f:
            self.bytes = max(self.bytes, int(f.read().split()[1]) * 4096)


def rate_until(flow, over, look):
    """Messages a second that go beside it until over() is true."""
    begin, t0 = flow.publisher.confirmed, time.monotonic()

    def check():
        look()
        check_flows([flow])
        return over()

    wait_until("the backlog to be done", check, 300)
    return (flow.publisher.confirmed - begin) / (time.monotonic() - t0)


def test_more_than_memory():
    """300 MB for a target that is away, with 16 MB of memory."""
    with mesh(3, "line", settings=[f"consensusd.memory-max={MEMORY >> 20}MB", "consensusd.stream-window=1MB",
                                   "consensusd.stream-backlog=1GB"]) as m:
        a, c = m.node("a"), m.node("c")
        stream = api.open_stream(a, "acme", ["c"], ack="accepted").stream_id
        wait_until("c to have the stream", lambda: metric(m, "c", "mesh_stream_open_streams", role="target") == 1)
        m.kill("c", "consensusd")
        with Flow(m, "a", ["b"], 1_000_000) as flow:
            most, back = Most(m, "a"), Most(m, "c")
            wait_until("messages", lambda: flow.publisher.confirmed > 200)
            alone = rate_of(flow, 3)
            pub = Publisher(a, stream, COUNT, size=SIZE, window=4)
            pub.start()
            filling = rate_until(flow, lambda: pub.confirmed == COUNT or pub.error, most.look)
            assert pub.error is None, pub.error
            sink = Sink(c, "acme", [stream], size=SIZE, batch=4)
            m.start("c", "consensusd")
            sink.start()

            def both():
                most.look()
                back.look()

            draining = rate_until(flow, lambda: sink.got(stream) == COUNT or sink.error, both)
            sink.stop()
            wait_all([pub], [])
            check_flows([flow])
            assert sink.error is None, sink.error
            print(f"        beside it {alone:.0f}/s alone, {filling:.0f}/s while it grew, {draining:.0f}/s while it "
                  f"went; consensusd had {most.bytes >> 20} MB at a, {back.bytes >> 20} MB at c")
            assert min(filling, draining) > alone / NOT_STARVED
            assert max(most.bytes, back.bytes) < RESIDENT
