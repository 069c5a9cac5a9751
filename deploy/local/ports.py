"""Free loopback ports, taken from below the range that outgoing connections use."""

import random
import socket

LOWEST, HIGHEST = 20_000, 32_000
TRIES = 200


def free_port(wanted: int | None = None) -> int:
    """A port that nobody listens on: `wanted` when it is free, else one at random."""
    candidates = [wanted] if wanted else []
    candidates += random.sample(range(LOWEST, HIGHEST), TRIES)
    for port in candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"{TRIES} random ports between {LOWEST} and {HIGHEST} are all taken")
