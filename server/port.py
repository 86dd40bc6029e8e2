"""The port that several processes serve together, held by the process that starts them."""

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


class PortUnavailable(Exception):
    """The port cannot be held; the text says what is in the way."""


@contextmanager
def held_port(host: str, port: int) -> Iterator[int]:
    """Hold a port for the block and yield its number; 0 takes a free one.

    Its sockets are bound and never listen, so Linux gives them no connection; but the port
    stays ours while no process listens on it, and a stranger cannot come to share it. Blocking:
    may ask for the addresses of a name.

    Raises:
        PortUnavailable: another program has the port, or the host is no address of this
            machine.
    """
    with ExitStack() as closing:
        problem: OSError | None = None
        held = 0
        for family, *_, address in _addresses(host, port):
            bound = closing.enter_context(socket.socket(family, socket.SOCK_STREAM))
            try:
                _bind(bound, (address[0], held or port, *address[2:]))
            except OSError as error:
                problem = error
                if error.errno == errno.EADDRINUSE:
                    break
            else:
                held = bound.getsockname()[1]
        if not held or (problem is not None and problem.errno == errno.EADDRINUSE):
            raise _unavailable(host, port) from problem
        yield held


def _addresses(host: str, port: int) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _unavailable(host, port) from error
    return [(*entry[:4], tuple(entry[4])) for entry in found]


def _bind(held: socket.socket, address: tuple[object, ...]) -> None:
    """Bind alone, then let others in: bound with SO_REUSEPORT it would share a stranger's port.

    SO_REUSEADDR lets us bind although connections of an earlier server have just ended. It
    does not stay, or another program could bind while nobody listens yet.
    """
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(address)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


def _unavailable(host: str, port: int) -> PortUnavailable:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return PortUnavailable(
        f"cannot listen on {address}: another program has the port, or HOST is no address of"
        " this machine"
    )
