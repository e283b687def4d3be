"""A stream whose publisher and subscribers are programs in JavaScript (node/flow.js): they are killed and started
again like all else, and what counts is what their journals say in the end."""
import hashlib
import os
import shutil
import signal
import subprocess

from api import open_stream
from devmeshlib.mesh import ROOT
from flow import message_id, payload
from harness import wait_until

HERE = os.path.dirname(os.path.realpath(__file__))
PLACE = f"{ROOT}/build/grpc-js"
PACKAGE = ("package.json", "package-lock.json", ".npmrc")


def available():
    return shutil.which("npm") is not None and shutil.which("node") is not None


def installed():
    """The directory with @grpc/grpc-js as the lock file of the gRPC tests has it."""
    def same(name):
        try:
            with open(f"{HERE}/grpc/node/{name}", "rb") as a, open(f"{PLACE}/{name}", "rb") as b:
                return a.read() == b.read()
        except OSError:
            return False

    if not (all(map(same, PACKAGE)) and os.path.exists(f"{PLACE}/installed")):
        shutil.rmtree(PLACE, ignore_errors=True)
        os.makedirs(PLACE)
        for name in PACKAGE:
            shutil.copy(f"{HERE}/grpc/node/{name}", PLACE)
        r = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=PLACE, text=True,
                           capture_output=True, timeout=300, check=False)
        assert r.returncode == 0, f"npm ci: {r.stderr}"
        with open(f"{PLACE}/installed", "w", encoding="utf-8"):
            pass
    return PLACE


class Program:
    """One role of node/flow.js, with the journal that outlives its processes."""

    def __init__(self, role, node, tenant, stream, directory, *more):
        self.node, self.stream = node, stream
        self.journal = f"{directory}/{role}-{node['name']}-{stream}"
        self.argv = ["node", f"{HERE}/node/flow.js", role, f"{ROOT}/proto/mesh.proto", node["grpc_address"],
                     node["ca"], node["client_cert"], node["client_key"], tenant, stream, self.journal, *map(str, more)]
        self.process = None

    def start(self):
        env = dict(os.environ, NODE_PATH=f"{installed()}/node_modules")
        with open(f"{self.journal}.err", "ab") as err:
            self.process = subprocess.Popen(self.argv, env=env, stdin=subprocess.DEVNULL, stdout=err, stderr=err)

    def kill(self):
        """As a power failure would; it is started again at once."""
        self.process.kill()
        self.process.wait()
        self.start()

    def check(self):
        if self.process.poll() not in (None, 0):
            with open(f"{self.journal}.err", encoding="utf-8", errors="replace") as f:
                raise AssertionError(f"{' '.join(self.argv[1:3])} of {self.node['name']} has ended: {f.read()[-500:]}")

    def lines(self):
        try:
            with open(self.journal, encoding="utf-8") as f:
                return [line.split() for line in f.read().split("\n")[:-1]]
        except OSError:
            return []

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class JsFlow:
    """A stream from one node to others, all of whose ends are such programs."""

    def __init__(self, m, source, targets, tenant, directory, size=300, rate=100):
        self.size = size
        self.stream = open_stream(m.node(source), tenant, list(targets)).stream_id
        self.publisher = Program("publish", m.node(source), tenant, self.stream, directory, size, rate)
        self.subscribers = [Program("subscribe", m.node(t), tenant, self.stream, directory) for t in targets]
        self.programs = [self.publisher, *self.subscribers]

    def start(self):
        for p in self.programs:
            p.start()

    def check(self):
        for p in self.programs:
            p.check()

    def stop(self):
        for p in self.programs:
            p.stop()

    def finish(self, seconds):
        """All that was handed over is confirmed, and is in every journal: once, in order, as it was."""
        process = self.publisher.process
        wait_until("the publisher in JavaScript to begin",
                   lambda: self.check() or ["begin", str(process.pid)] in self.publisher.lines(), seconds)
        process.send_signal(signal.SIGTERM)
        wait_until("the publisher in JavaScript to end", lambda: self.check() or process.poll() == 0,
                   seconds)
        said = self.publisher.lines()
        assert said[-1][0] == "end", f"its journal ends with {said[-1]}"
        last = int(said[-1][1])
        confirmed = [int(line[1]) for line in said if line[0] == "c"]
        assert confirmed == list(range(1, last + 1)), f"confirmed {len(confirmed)} of {last}"
        for s in self.subscribers:
            wait_until(f"{last} messages in the journal of {s.node['name']}",
                       lambda s=s: self.check() or len(s.lines()) >= last, seconds)
            self.compare(s, last)
        return last

    def compare(self, subscriber, last):
        where = f"the journal of {subscriber.node['name']}"
        lines = subscriber.lines()
        assert len(lines) == last, f"{where} has {len(lines)} of {last} messages"
        for seq, line in enumerate(lines, 1):
            want = [str(seq), message_id(seq), hashlib.sha256(payload(self.stream, seq, self.size)).hexdigest()]
            assert line == want, f"{where} has {line}, and not {want}"
