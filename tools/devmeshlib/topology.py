"""Who is linked with whom, and who dials.

A topology is a list of node names and a list of Link.  A FILE has one link a line:

    a -> b                  a dials b
    a <-> b                 both may dial
    a -> b delay=20 rate=0.5    and the link delays by 20 ms each way, at 0.5 Mbit/s
    a -> b proxy=connect    a dials through an HTTP proxy; proxy=login: one that wants a password
    a -> b token            b is behind a proxy that ends TLS, and a shows a token
    a -> b ipv6             a dials ::1

`#` starts a comment; a line with one name only makes a node without a link of its own.  Two lines with the
same nodes are two addresses of one node.
"""
import re
from collections import namedtuple

from .procs import DevmeshError

Link = namedtuple("Link", "a b both delay_ms rate_mbit proxy token ipv6", defaults=(False, 0, 0, "", False, False))
Link.__doc__ = "a dials b; with both, b dials a too."

NODES_MAX = 64
NAME = re.compile(r"[A-Za-z0-9._-]{1,63}\Z")


def node_name(i):
    return chr(ord("a") + i) if i < 26 else f"n{i + 1}"


def link(a, b):
    return Link(a, b)


def line(names):
    """Every second node only dials, as if it were behind NAT."""
    return [link(x, y) if i % 2 == 0 else link(y, x) for i, (x, y) in enumerate(zip(names, names[1:]))]


def ring(names):
    return line(names) + ([link(names[-1], names[0])] if len(names) > 2 else [])


def full(names):
    return [link(x, y) for i, x in enumerate(names) for y in names[i + 1:]]


def parse_line(words, where):
    if len(words) < 3 or words[1] not in ("->", "<-", "<->"):
        raise DevmeshError(f"{where}: expected 'A -> B', 'A <- B' or 'A <-> B'")
    options = dict(w.partition("=")[::2] for w in words[3:])
    try:
        delay, rate = int(options.pop("delay", 0)), float(options.pop("rate", 0))
    except ValueError:
        raise DevmeshError(f"{where}: delay is in ms, a whole number, and rate in Mbit/s") from None
    proxy = options.pop("proxy", "")
    if proxy not in ("", "connect", "login"):
        raise DevmeshError(f"{where}: proxy is connect or login, not '{proxy}'")
    token, ipv6 = options.pop("token", None) == "", options.pop("ipv6", None) == ""
    if options:
        raise DevmeshError(f"{where}: unknown '{next(iter(options))}' (there are delay=, rate=, proxy=, token, ipv6)")
    if words[1] == "<->" and (proxy or token or ipv6):
        raise DevmeshError(f"{where}: proxy=, token and ipv6 are for links that one side dials")
    a, b = (words[2], words[0]) if words[1] == "<-" else (words[0], words[2])
    if a == b:
        raise DevmeshError(f"{where}: a node has no link to itself")
    return Link(a, b, words[1] == "<->", delay, rate, proxy, token, ipv6)


def parse(path):
    names, links = [], []
    with open(path, encoding="utf-8") as f:
        for number, text in enumerate(f, 1):
            words = text.partition("#")[0].split()
            if not words:
                continue
            where = f"{path}:{number}"
            found = words[:1]
            if len(words) > 1:
                links.append(parse_line(words, where))
                found = words[0], words[2]
            for name in found:
                if not NAME.match(name):
                    raise DevmeshError(f"{where}: '{name}' is no node name ([A-Za-z0-9._-])")
                if name not in names:
                    names.append(name)
    return names, links


def make(kind, count):
    """(names, links) for `-t kind -n count`; kind may be the path of a file."""
    shapes = {"line": line, "ring": ring, "full": full}
    if kind in shapes:
        names = [node_name(i) for i in range(count)]
        result = names, shapes[kind](names)
    else:
        try:
            result = parse(kind)
        except OSError as e:
            raise DevmeshError(f"-t: '{kind}' is not line, ring or full, and no file: {e.strerror}") from None
    if not 1 <= len(result[0]) <= NODES_MAX:
        raise DevmeshError(f"a mesh has 1 to {NODES_MAX} nodes here, not {len(result[0])}")
    return result
