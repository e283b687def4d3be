"""Looking at a node's links and their lanes through its API, and finding the TCP connection that a lane is."""
import re

import mesh_pb2 as pb
from api import Api
from harness import wait_until

CONTROL, PRIORITY, BULK = 0, 1, 2
CALL_S = 20


def api_of(m, name):
    """A channel to the node that stays as long as the mesh: looking often shall be cheap."""
    kept = m.__dict__.setdefault("apis", {})
    if name not in kept:
        kept[name] = Api(m.node(name), local=True)
    return kept[name]


def links(m, name):
    """peer's node id -> LinkDetail, of the node's own links."""
    status = api_of(m, name).GetMeshStatus(pb.Empty(), timeout=CALL_S)
    own = m.node(name)["node_id"]
    return {x.target_node_id: x.detail for x in status.links if x.source_node_id == own and x.HasField("detail")}


def link(m, a, b):
    """a's LinkDetail of its link to b, or None."""
    return links(m, a).get(m.node(b)["node_id"])


def lanes(m, a, b):
    """lane -> LaneDetail as a sees its link to b."""
    detail = link(m, a, b)
    return {x.lane: x for x in detail.lanes} if detail else {}


def lanes_up(m, a, b):
    return {n: x for n, x in lanes(m, a, b).items() if x.state == "up"}


def settled(m, a, b, count=3):
    """Waits until both ends see these many lanes up, and no other; those of a."""
    def both():
        mine, theirs = lanes_up(m, a, b), lanes_up(m, b, a)
        return mine if set(mine) == set(theirs) == set(range(count)) else None

    try:
        return wait_until(f"{count} lanes between {a} and {b}", both, 30)
    except AssertionError as e:
        shown = [(x.lane, x.state, x.local_address, x.queued_bytes, x.unacked_bytes) for x in lanes(m, a, b).values()]
        raise AssertionError(f"{e}: {a} sees {shown}") from None


def identity(detail):
    """What stays as it is as long as the link and its connections do."""
    return detail.since_unix_ms, sorted((x.lane, x.local_address, x.address) for x in detail.lanes)


def port(address):
    return int(address.rpartition(":")[2])


def conn_of(m, a, b, lane):
    """meshproxy's connection that is the lane of the link as a sees it."""
    x = lanes(m, a, b)[lane]
    for c in m.conns(a, b):
        if (c.client_port == port(x.local_address)) if x.dialled else (c.server_port == port(x.address)):
            return c
    raise AssertionError(f"lane {lane} at {x.local_address} is none of {m.conns(a, b)}")


# --- metrics ---

SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)\Z")
LABEL = re.compile(r'(\w+)="([^"]*)"')


def samples(m, name):
    """(metric, labels, value) of every sample that the node shows."""
    text = api_of(m, name).GetMetrics(pb.Empty(), timeout=CALL_S).text
    for line in text.splitlines():
        if found := SAMPLE.match(line):
            yield found[1], dict(LABEL.findall(found[2] or "")), float(found[3])


def metric(m, name, what, **labels):
    """The sum of the samples of a metric with these labels; None: there is none."""
    values = [v for n, have, v in samples(m, name) if n == what and labels.items() <= have.items()]
    return sum(values) if values else None


def refusals(m, name):
    """Everything that transportd counts against peers: connections it did not let in, and those it ended."""
    return sum(v for n, have, v in samples(m, name)
               if n in ("mesh_connections_refused_total", "mesh_connections_ended_total"))


def ended(m, name, reason):
    """Connections that the node ended for this reason (a label of mesh-wire(7), GOAWAY)."""
    return metric(m, name, "mesh_connections_ended_total", reason=reason)


class RoundTrips:
    """The round-trip times that a node's lanes of a class had since this was made, from its histogram."""

    def __init__(self, m, name, lane_class):
        self.m, self.name, self.lane_class = m, name, lane_class
        self.before = self._buckets()

    def _buckets(self):
        found = {}
        for n, have, v in samples(self.m, self.name):
            if n == "mesh_lane_rtt_seconds_bucket" and have.get("class") == self.lane_class:
                at = float(have["le"])
                found[at] = found.get(at, 0) + v
        assert found, f"{self.name} has no histogram mesh_lane_rtt_seconds of class {self.lane_class}"
        return found

    def count(self):
        now = self._buckets()
        return now[float("inf")] - self.before.get(float("inf"), 0)

    def quantile(self, share):
        """The upper edge, in seconds, of the bucket that the quantile is in."""
        now = self._buckets()
        total = now[float("inf")] - self.before.get(float("inf"), 0)
        assert total > 0, f"no heartbeat of class {self.lane_class} was answered"
        return min(at for at, v in now.items() if v - self.before.get(at, 0) >= share * total)

    def estimate(self, share):
        """The quantile as a figure, in seconds: as if those of its bucket were spread evenly over it."""
        low = below = 0
        counts = sorted((at, v - self.before.get(at, 0)) for at, v in self._buckets().items())
        wanted = share * counts[-1][1]
        for high, upto in counts:
            if upto >= wanted:
                break
            low, below = high, upto
        if high == float("inf") or upto == below:
            return low
        return low + (high - low) * (wanted - below) / (upto - below)


class Downs:
    """Counts of links that went down; still() asserts that none did since."""

    def __init__(self, m, *names):
        self.m, self.names = m, names
        self.before = self.now()

    def now(self):
        return {n: metric(self.m, n, "mesh_link_downs_total") for n in self.names}

    def still(self):
        now = self.now()
        assert now == self.before, f"links went down: {self.before}, now {now}"
