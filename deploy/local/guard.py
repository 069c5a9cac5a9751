"""Run a command that dies with its parent: `python guard.py PARENT_PID SIGNAL command…` (Linux).

A process of its own because a preexec function is unsafe under threads, and because a change of credentials (`unshare`,
`setpriv`) clears the setting: then the guard stands on both sides of it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Ask the kernel for SIGNAL when the parent ends, then become the command."""
    parent, death_signal, *command = arguments
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != int(parent):  # the parent died before it could be watched: nobody would ever stop us
        sys.exit("the parent ended before the command began")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what is ignored stays so across exec
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
