"""`distillhub up`: everything on this machine, in one command."""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from distillhub import __version__, supervisor


def up(options: argparse.Namespace) -> int:
    began = time.monotonic()
    home = Path(os.environ["DISTILLHUB_HOME"])
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise supervisor.CannotStart(f"{home} cannot be made: {error.strerror}.") from None
    lock = supervisor.HomeLock(home)
    sock = supervisor.listen(options.host, options.port)
    address = _address(options.host, sock.getsockname()[1])
    lock.tell(address)
    os.environ.setdefault("SITE_URL", address)

    if not (home / "distillhub.sqlite3").exists() and "DATABASE_URL" not in os.environ:
        _say(f"Making a new home in {home} ...")
    keeper = supervisor.Supervisor(home, _say)
    keeper.watch_signals()
    told = _prepare(keeper, demo=not options.no_demo)
    if keeper.stopping:
        return 0
    sock.set_inheritable(True)
    for number in range(1, options.web_processes + 1):
        name = "web" if number == 1 else f"web-{number}"
        keeper.add(name, ["web", "--fd", str(sock.fileno())], sock.fileno())
    keeper.add("worker", ["worker", "--beat", "--queues", "default,gpu"])
    if told["demo"]:
        keeper.add_once("demo", ["demo"])

    def ready() -> None:
        _greet(options, home, address, told, time.monotonic() - began)

    restarts = 0

    def restarted() -> None:
        nonlocal restarts
        restarts += 1
        lock.tell(address, restarts)

    status = keeper.run(on_ready=ready, on_restart=restarted)
    _say("Stopped. Start again with the same command: everything is kept, and runs go on.")
    return status


def _prepare(keeper: supervisor.Supervisor, *, demo: bool) -> dict[str, Any]:
    """Migrations, static files, the administrator and the link, in a process of their own, so
    that the supervisor never holds Django in memory. Nothing when asked to stop meanwhile."""
    status, output = keeper.once(["prepare", *(["--demo"] if demo else [])])
    if keeper.stopping:
        return {}
    *lines, last = output.strip().splitlines() or [""]
    if status != 0 or not last:
        raise supervisor.CannotStart("The database or the files could not be prepared (see above).")
    for line in lines:
        _say(line)
    told: dict[str, Any] = json.loads(last)
    return told


def _greet(
    options: argparse.Namespace, home: Path, address: str, told: dict[str, Any], seconds: float
) -> None:
    port = int(address.rpartition(":")[2])
    taken = f"  (port {options.port} was taken)" if port != options.port else ""
    _say(f"DistillHub {__version__} is ready after {seconds:.1f} s.\n")
    _say(f"  Sign in   {address}{told['link']}")
    _say("            works once, within half an hour; another: distillhub sign-in-link")
    _say(f"  Address   {address}{taken}")
    _say(f"  Home      {home}  (logs in {home / 'logs'})")
    if options.host not in {"127.0.0.1", "localhost", "::1"}:
        _say(f"\n  Other machines can reach {options.host}; name the hosts in ALLOWED_HOSTS.")
    if told["demo"]:
        _say("  Demo      a project trains on real images, and is watched, by itself")
    _say("\nCtrl-C stops everything.")


def _address(host: str, port: int) -> str:
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - what to show, not what to bind
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _say(line: str) -> None:
    try:
        print(line, flush=True)
    except OSError:  # the terminal is gone; the processes are not
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
