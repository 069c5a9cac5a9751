"""A program that starts the two servers and waits to be ended, for tests: `python parent.py FOLDER`."""

import signal
import sys
from pathlib import Path

from deploy.local.stack import Stack, exit_on_signals


def main() -> None:
    exit_on_signals()
    with Stack(Path(sys.argv[1]), say=_say) as stack:
        _say(f"ready {stack.kafka} {stack.postgres}")
        signal.pause()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
