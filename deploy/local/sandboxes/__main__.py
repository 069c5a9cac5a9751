"""Runs the sandboxes until SIGTERM or SIGINT; prints one line of JSON with their addresses when all of them listen."""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

import uvloop

from deploy.local.sandboxes import Ports, Sandboxes


def main() -> None:
    options = arguments().parse_args()
    ports = Ports(options.gateway_port, options.sms_port, options.smtp_port, options.mailbox_port)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_until_told(options.state, ports))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.sandboxes", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="where they keep what happened")
    for name in ("gateway", "sms", "smtp", "mailbox"):
        parser.add_argument(f"--{name}-port", type=int, default=0, metavar="PORT", help="0 (the default): a free one")
    return parser


async def run_until_told(state_dir: Path, ports: Ports) -> None:
    told = asyncio.Event()
    for told_by in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(told_by, told.set)
    async with Sandboxes(state_dir, ports) as sandboxes:
        sys.stdout.write(json.dumps(sandboxes.addresses()) + "\n")
        sys.stdout.flush()
        await told.wait()


if __name__ == "__main__":
    main()
