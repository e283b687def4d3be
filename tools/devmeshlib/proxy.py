"""The proxy that the links go through, so that they can be cut, delayed and slowed down."""
import os
import socket
from collections import namedtuple

from . import procs
from .procs import DevmeshError

Conn = namedtuple("Conn", "id client_port server_port up_bytes down_bytes age_ms")
Conn.__doc__ = "client_port: of the dialler's end; server_port: of the proxy's end towards the listener, or 0."


def start(binary, directory, user):
    sock = f"{directory}/proxy.sock"
    if os.path.exists(sock):
        os.unlink(sock)
    proc = procs.spawn([binary, sock], f"{directory}/proxy.log", user, cwd="/")
    procs.wait_until("meshproxy", lambda: os.path.exists(sock) and command(sock, "status") is not None, 10)
    return proc


def command(sock, line):
    """Sends one line; the answer's lines.  DevmeshError with the proxy's reason if it says no."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(10)
            s.connect(sock)
            s.sendall(line.encode() + b"\n")
            s.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := s.recv(65536):
                answer += chunk
    except OSError as e:
        if line == "status":
            return None
        raise DevmeshError(f"the proxy does not answer on {sock}: {e.strerror}") from None
    lines = answer.decode().splitlines()
    if not lines or lines[-1] != "ok":
        raise DevmeshError(f"proxy: {line}: {lines[-1] if lines else 'no answer'}")
    return lines[:-1]
