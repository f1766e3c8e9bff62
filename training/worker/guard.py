"""Starts a training process that cannot outlive its worker. Run as a script, in its own process:

    python guard.py PARENT_PID MEMORY_BYTES -- COMMAND...

It asks the kernel to end it when the worker dies (its checkpoints are what the next attempt goes
on from), limits memory when MEMORY_BYTES is not 0, offers itself first when the kernel looks for
memory, and becomes the command. This is a script and not a function given to `subprocess` because
code that runs between fork and exec in a process with threads can hang for ever.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    parent, memory = int(arguments[0]), int(arguments[1])
    command = arguments[arguments.index("--") + 1 :]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            sys.exit(0)
        # The worker and the database should outlive a training that ate the machine's memory.
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:  # noqa: PTH123 - pathlib costs start-up time
            score.write("500")
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.execv(command[0], command)  # noqa: S606 - the command is the worker's own


if __name__ == "__main__":
    main(sys.argv[1:])
