"""A gatewayd with a stand-in for consensusd, in a directory of its own, and what tests need around it."""
import atexit
import hashlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", TOP / "build/gcc"))
TOKEN = "correct-horse-battery-staple"
MESH_ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
PROTOS = ["mesh.proto", "grpc/health/v1/health.proto", "grpc/reflection/v1/reflection.proto",
          "grpc/reflection/v1alpha/reflection.proto"]


def wait_until(what, probe, seconds=10.0):
    """Calls probe until it gives something true, which is returned."""
    end = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.01)


def run(*argv, **kw):
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True, **kw)


def protos_compile(out):
    """The API's modules for Python.  health and reflection go under names that no package has."""
    run("protoc", f"-I{TOP}/proto", f"--python_out={out}", *PROTOS)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Pki:
    """A certificate authority made with openssl(1), so that nothing here is checked by what made it."""

    def __init__(self, directory, name="ca"):
        self.dir = pathlib.Path(directory)
        self.name = name
        self.cert = self.dir / f"{name}.pem"
        self.key = self.dir / f"{name}.key"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "2", "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.cert)

    def issue(self, name, san):
        key, csr, cert = (self.dir / f"{self.name}-{name}.{e}" for e in ("key", "csr", "pem"))
        ext = self.dir / "ext"
        ext.write_text(f"subjectAltName={san}\n")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", f"/CN={name}", "-keyout", key, "-out", csr)
        run("openssl", "x509", "-req", "-in", csr, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial",
            "-days", "2", "-extfile", ext, "-out", cert)
        return cert, key


USER = "nobody" if os.getuid() == 0 else None  # whom the daemon drops to, if there is something to drop


def give_away(*paths):
    """Makes files those of the user that the daemon runs as."""
    for path in paths:
        if USER:
            shutil.chown(path, USER)


class Process:
    def __init__(self, name, argv, log, user=None):
        self.name, self.log = name, log
        self.out = open(log, "ab")
        # Not by Popen's own means: it would fork, and a process with gRPC's threads must not (it may hang).
        drop = ["setpriv", f"--reuid={user}", "--clear-groups"] if user else []
        self.popen = subprocess.Popen([*drop, *(str(a) for a in argv)], stdout=self.out, stderr=self.out)

    def alive(self):
        return self.popen.poll() is None

    def stop(self, sig=signal.SIGTERM, seconds=10):
        if self.alive():
            self.popen.send_signal(sig)
        try:
            status = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            status = None
        self.out.close()
        return status


class Gateway:
    """gatewayd and its stand-in.  `extra` are lines for its section of mesh.conf."""

    def __init__(self, extra=""):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="mesh-grpc-"))
        atexit.register(shutil.rmtree, self.dir, ignore_errors=True)
        self.run_dir = self.dir / "run"
        self.run_dir.mkdir()
        self.ca = Pki(self.dir)
        self.server = self.ca.issue("server", "DNS:localhost,IP:127.0.0.1")
        self.client = self.ca.issue("client", f"URI:spiffe://{MESH_ID}/client/tester")
        self.tokens = self.dir / "tokens"
        self.tokens.write_text(f"{hashlib.sha256(TOKEN.encode()).hexdigest()} tester\n")
        give_away(self.dir, self.run_dir, self.tokens, self.ca.cert, *self.server)
        self.port = free_port()
        self.socket = self.run_dir / "grpc.sock"
        self.conf = self.dir / "mesh.conf"
        self.extra = extra
        self.conf_write()
        self.processes = {}

    def conf_write(self, extra=None):
        lines = self.extra if extra is None else extra
        if "log-level" not in lines:
            lines += "\n\tlog-level debug"
        if "drain-timeout" not in lines:
            lines += "\n\tdrain-timeout 500ms"
        self.conf.write_text(f"""
mesh {{
	id {MESH_ID}
	node-name a
	runtime-dir "{self.run_dir}"
}}
gatewayd {{
	user nobody
	listen 127.0.0.1:{self.port}
	grpc-socket "{self.socket}"
	tls-cert "{self.server[0]}"
	tls-key "{self.server[1]}"
	client-ca "{self.ca.cert}"
	token-file "{self.tokens}"
	{lines}
}}
""")

    def start_fake(self, *options):
        self.processes["fake"] = Process("fake_consensusd", [
            BUILD / "tests/system/grpc/fake_consensusd", self.run_dir / "consensusd.sock", *options], self.dir / "fake.log", USER)

    def start_gateway(self):
        self.processes["gatewayd"] = Process(
            "gatewayd", [BUILD / "bin/gatewayd", "-c", self.conf], self.dir / "gatewayd.log")
        wait_until("gatewayd to be ready", lambda: self.log_has('"ready"') or self.died("gatewayd"))

    def start(self):
        self.start_fake()
        self.start_gateway()
        wait_until("the API to serve", lambda: self.log_has("the API is serving") or self.died("gatewayd"))
        return self

    def died(self, name):
        if not self.processes[name].alive():
            raise RuntimeError(f"{name} ended early:\n{self.log_text()}")
        return False

    def log_text(self):
        return (self.dir / "gatewayd.log").read_text(errors="replace")

    def log_has(self, text):
        return text in self.log_text()

    def pid(self):
        return self.processes["gatewayd"].popen.pid

    def reload(self):
        before = self.log_text().count("configuration: reloaded")
        os.kill(self.pid(), signal.SIGHUP)
        wait_until("the reload", lambda: self.log_text().count("configuration: reloaded") > before)

    def stop(self):
        statuses = {name: p.stop() for name, p in self.processes.items()}
        self.processes = {}
        return statuses

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        statuses = self.stop()
        if kind is None and statuses.get("gatewayd") not in (None, 0):
            raise RuntimeError(f"gatewayd exited with {statuses['gatewayd']}:\n{self.log_text()[-4000:]}")
        if kind is not None and issubclass(kind, Exception):
            lines = [x for x in self.log_text().splitlines() if "trying again" not in x]
            sys.stderr.write("\n".join(["--- gatewayd.log (its end) ---", *lines[-30:], ""]))
        shutil.rmtree(self.dir, ignore_errors=True)
