"""A private PostgreSQL server per node: a Unix socket in the node's directory, no TCP, fsync on."""
import contextlib
import glob
import os
import shutil
import signal

from . import procs
from .procs import DevmeshError

ROLE = "mesh"
SETTINGS = """
listen_addresses = ''
unix_socket_permissions = 0700
shared_buffers = 64MB
max_connections = 20
max_wal_size = 2GB
checkpoint_timeout = 15min
wal_buffers = 16MB
# A WAL file is reused, not made anew, once this much is there: making one costs milliseconds.
min_wal_size = 256MB
max_wal_senders = 0
wal_level = minimal
max_worker_processes = 2
max_parallel_workers = 0
autovacuum_max_workers = 1
autovacuum_naptime = 10s
jit = off
logging_collector = off
log_min_messages = warning
log_checkpoints = off
"""


def bindir():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda p: int(p.split("/")[4]))
    if not found:
        raise DevmeshError("PostgreSQL is not installed: apt-get install postgresql")
    return os.path.dirname(found[-1])


def make_template(path, user):
    """A data directory with the empty database, to copy for each node: initdb takes its time."""
    procs.run([f"{bindir()}/initdb", "-D", path, "-U", ROLE, "-A", "trust", "-E", "UTF8", "--locale=C",
               "--no-sync", "--no-instructions"], user)
    procs.run([f"{bindir()}/postgres", "--single", "-D", path, "-c", "fsync=off", "postgres"], user,
              f"CREATE DATABASE {ROLE};\n")
    with open(f"{path}/postgresql.conf", "a", encoding="utf-8") as f:
        f.write(SETTINGS)


def copy_template(template, data, user):
    procs.run(["cp", "-a", "--reflink=auto", template, data], user)


def remove_template(template):
    shutil.rmtree(template, ignore_errors=True)


def dsn(node):
    return f"host={node['dir']}/pg dbname={ROLE} user={ROLE}"


def start(node, user):
    """Starts the server of a node; ready() tells when it takes connections.

    After a crash its lock files are left.  The server would refuse to start as long as the old pid is
    there, if only as a zombie that a container's init never collects: so they go, when no process of
    the last server is left.
    """
    if not procs.alive(node["procs"].get("postgres")):
        for lock in ("data/postmaster.pid", "pg/.s.PGSQL.5432.lock"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{node['dir']}/{lock}")
    return procs.spawn([f"{bindir()}/postgres", "-D", f"{node['dir']}/data", "-k", f"{node['dir']}/pg"],
                       node["logs"]["postgres"], user, cwd="/")


def ready(node, user):
    try:
        procs.run([f"{bindir()}/pg_isready", "-q", "-h", f"{node['dir']}/pg", "-U", ROLE, "-d", ROLE], user)
    except DevmeshError:
        return False
    return True


def kill(proc):
    """As a crash of the machine: all of the server's processes at once."""
    procs.send(proc, signal.SIGSTOP)  # it starts no more children while they are counted
    everyone = procs.family(proc)
    for p in everyone:
        procs.send(p, signal.SIGKILL)
    procs.wait_gone(everyone, 10)


def stop(proc):
    procs.stop([proc], signal.SIGINT, 20)  # "fast" shutdown
