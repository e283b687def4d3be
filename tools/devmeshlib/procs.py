"""Processes that outlive the program that started them: a pid counts only with its start time."""
import os
import signal
import subprocess
import time


class DevmeshError(Exception):
    """What went wrong, in words for the person who typed the command."""


def start_time(pid):
    """Field 22 of /proc/PID/stat (clock ticks since boot), or None if there is no such live process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            fields = f.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def alive(proc):
    """proc: {"pid", "start"} as spawn() returned it."""
    return bool(proc) and start_time(proc["pid"]) == proc["start"]


def spawn(argv, log, user=None, cwd=None, env=None, before=()):
    """Starts argv in a session of its own, output appended to log; returns its identity.  before: a command
    that stands before it and is not run as the user, but becomes it."""
    full_env = dict(os.environ, **(env or {}))
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        full_env.pop(name, None)
    with open(log, "ab") as out:
        child = subprocess.Popen([*before, *run_as(user), *argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                 cwd=cwd, env=full_env, start_new_session=True)
    # A child that has ended already is a zombie of ours: its start time is gone, alive() is false.
    start = start_time(child.pid)
    child.returncode = 0  # reap() waits for it, not the Popen object
    _children.add(child.pid)
    return {"pid": child.pid, "start": start if start is not None else -1}


def run_as(user):
    """What stands before a command so that it runs as a pwd entry (None: as ourselves); the pid stays the same.

    Not subprocess' own way: that forks, and in a program with threads of other libraries (gRPC) a fork
    may never return.  Without it Python uses vfork.
    """
    if user is None:
        return []
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]


def run(argv, user=None, text_in=None, env=None, seconds=120):
    """Runs argv to its end; its output, or DevmeshError with what it said."""
    try:
        r = subprocess.run([*run_as(user), *argv], input=text_in, capture_output=True, text=True, check=False,
                           cwd="/", env=dict(os.environ, **(env or {})), timeout=seconds)
    except subprocess.TimeoutExpired:
        raise DevmeshError(f"{' '.join(argv[:4])} … did not end within {seconds} s") from None
    if r.returncode != 0:
        said = (r.stderr or r.stdout).strip()
        raise DevmeshError(f"{' '.join(argv[:4])} … failed ({r.returncode}): {said}")
    return r.stdout


_children = set()  # what this program has spawned and not collected yet


def reap():
    """Collects what spawn() started and has ended, so that it doesn't stay as a zombie."""
    for pid in list(_children):
        try:
            if os.waitpid(pid, os.WNOHANG)[0] != 0:
                _children.discard(pid)
        except OSError:
            _children.discard(pid)


def send(proc, sig):
    """Signals the process if it is still the one that was started.  True if it was."""
    if not alive(proc):
        return False
    try:
        os.kill(proc["pid"], sig)
    except ProcessLookupError:
        return False
    return True


def wait_gone(procs, seconds):
    """Waits until none of procs is alive; those that are still."""
    end = time.monotonic() + seconds
    while True:
        reap()
        left = [p for p in procs if alive(p)]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.01)


def stop(procs, sig=signal.SIGTERM, seconds=10):
    """Ends procs with sig, then with SIGKILL; takes what they had started along."""
    procs = [p for p in procs if p]
    all_of_them = [member for p in procs for member in family(p)]
    for p in procs:
        send(p, signal.SIGCONT)
        send(p, sig)
    wait_gone(procs, seconds)
    for p in [*all_of_them, *(o for p in procs for o in orphans(p))]:
        send(p, signal.SIGKILL)
    wait_gone(all_of_them, 5)


def _table():
    """(pid, parent, session, start time) of every live process."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as f:
                fields = f.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if fields[0] not in (b"Z", b"X"):
            yield int(name), int(fields[1]), int(fields[3]), int(fields[19])


def family(proc):
    """A process that is alive and all its descendants, and what else is in its session."""
    if not alive(proc):
        return []
    table, pids = list(_table()), {proc["pid"]}
    grown = True
    while grown:
        more = {pid for pid, parent, session, _ in table if parent in pids or session == proc["pid"]} - pids
        pids |= more
        grown = bool(more)
    return [{"pid": pid, "start": start} for pid, _, _, start in table if pid in pids]


def orphans(proc):
    """What is left of the session of a process that is gone."""
    return [{"pid": pid, "start": start} for pid, _, session, start in _table()
            if session == proc["pid"] and start >= proc["start"]]


def wait_until(what, check, seconds, every=0.02):
    """Calls check() until it returns something true, and returns that; DevmeshError after seconds."""
    end = time.monotonic() + seconds
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > end:
            raise DevmeshError(f"{what}: not within {seconds:g} s")
        time.sleep(every)
