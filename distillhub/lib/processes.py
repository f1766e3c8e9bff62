"""Processes that belong to another: they end with it, and tell it when they are ready.

The parent passes two environment variables, which are taken out of the environment at once so that
no grandchild inherits them: PARENT_PID and READY_FD (the writing end of a pipe).
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time

PARENT_PID = "DISTILLHUB_PARENT_PID"
READY_FD = "DISTILLHUB_READY_FD"

PR_SET_PDEATHSIG = 1


def belong_to_parent() -> None:
    """End this process when the one that started it ends, even by SIGKILL. Does nothing for a
    process that nobody supervises."""
    raw = os.environ.pop(PARENT_PID, "")
    if not raw.isdigit():
        return
    parent = int(raw)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before the kernel was asked
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def tell_ready() -> None:
    """Write `ready` to the parent's pipe, once; does nothing without a parent."""
    raw = os.environ.pop(READY_FD, "")
    if not raw.isdigit():
        return
    with contextlib.suppress(OSError), os.fdopen(int(raw), "wb") as pipe:
        pipe.write(b"ready\n")
