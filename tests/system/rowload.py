"""Database updates that streams carry: how their tables come to be, publishers of rows, and what has to be there."""
import contextlib
import json
import signal

import psycopg2

import mesh_pb2 as pb
from flow import Publisher
from harness import query, wait_until
from streamload import EndlessPublisher

RELOADED = "configuration: reloaded"
TALLY_CONF = """
	db-table tally {
		key stream n
		columns who
		operations insert
		stream-tenants acme
	}
"""
# There is no key that would refuse what comes twice.
TALLY_SQL = "CREATE TABLE public.tally (stream text, n bigint, who text, done bigint GENERATED ALWAYS AS IDENTITY)"


def change(m, node, *statements):
    with contextlib.closing(psycopg2.connect(m.node(node)["database"])) as db, db, db.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)


def configure(m, node, old, new):
    """Changes the configuration of consensusd, and waits until it has read it."""
    path, log = m.node(node)["config"], m.node(node)["logs"]["consensusd"]

    def reloads():
        with open(log, encoding="utf-8") as f:
            return f.read().count(RELOADED)

    with open(path, encoding="utf-8") as f:
        conf = f.read()
    assert old in conf
    with open(path, "w", encoding="utf-8") as f:
        f.write(conf.replace(old, new, 1))
    before = reloads()
    m.signal(node, "consensusd", signal.SIGHUP)
    wait_until(f"{node} to read its configuration", lambda: reloads() > before)


def tables(m, node, conf=TALLY_CONF, sql=(TALLY_SQL,)):
    change(m, node, *sql)
    configure(m, node, "consensusd {", "consensusd {" + conf)


def update(table, operation, key=None, row=None):
    return pb.DBUpdate(table=table, operation=operation, key=json.dumps(key) if key else "",
                       row=json.dumps(row) if row else "").SerializeToString()


class Updates(Publisher):
    """Publishes what make(seq) makes."""

    def __init__(self, m, stream, last, make, first=1, **more):
        super().__init__(m.node("a"), stream, last, first=first, **more)
        self.make = make

    def chunk(self, seq):
        c = super().chunk(seq)
        c.payload = self.make(seq)
        return c


class EndlessTally(EndlessPublisher):
    """A row of the table tally for each message, until finish()."""

    def chunk(self, seq):
        c = super().chunk(seq)
        c.payload = update("tally", "insert", {"stream": self.stream_id, "n": seq})
        return c


def tally(m, node, stream):
    return [n for n, in query(m.node(node), "SELECT n FROM public.tally WHERE stream = %s ORDER BY done", stream)]


def check_tally(m, node, stream, last):
    """Each row once, in the order of the stream."""
    got = tally(m, node, stream)
    first = next((i for i, n in enumerate(got) if n != i + 1), len(got))
    assert got == list(range(1, last + 1)), f"{len(got)} rows of {last}, the first that is wrong: {got[first:first + 5]}"
