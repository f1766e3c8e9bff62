"""The `distillhub` command. Parsing and the supervisor need no Django; every other command loads
it after the home folder is known."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from distillhub import __version__
from distillhub.cli import remote_options

DESCRIPTION = "Distil models, and the evidence that it helped."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 failed, 2 not understood."""
    options = _parser().parse_args(arguments)
    home = Path(options.home or os.environ.get("DISTILLHUB_HOME") or "~/.distillhub")
    os.environ["DISTILLHUB_HOME"] = str(home.expanduser().resolve())
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "distillhub.settings")
    from distillhub.cli import commands

    return commands.run(options.command, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="distillhub", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"DistillHub {__version__}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--home", metavar="DIR", help="where everything is kept (default: ~/.distillhub)"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, says: str | None) -> argparse.ArgumentParser:
        if says is None:  # for our own processes, not for people
            return commands.add_parser(name, parents=[shared])
        return commands.add_parser(name, parents=[shared], help=says, description=says)

    up = command("up", "Start web, worker and scheduler together, and print a sign-in link.")
    up.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    up.add_argument("--port", type=_port, default=8000, help="or the next free one (8000)")
    up.add_argument("--no-demo", action="store_true", help="do not make the demo project")
    up.add_argument("--web-processes", type=_positive, default=1, metavar="N", help="(1)")

    web = command("web", "Serve the pages and REST alone.")
    web.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    web.add_argument("--port", type=_port, default=8000, help="(8000)")
    web.add_argument("--processes", type=_positive, default=1, metavar="N", help="(1)")
    web.add_argument("--fd", type=int, help=argparse.SUPPRESS)

    worker = command("worker", "Execute runs and jobs of these queues.")
    worker.add_argument(
        "--queues", default="default", metavar="NAMES", help="separated by commas (default)"
    )
    worker.add_argument("--beat", action="store_true", help="send the regular jobs as well")
    command("beat", "Send the regular jobs; exactly one per installation.")
    command("restart", "Replace the processes of a running `up` one by one; nobody is refused.")
    command("migrate", "Bring the database and static files up to date, after a backup.")
    backup = command("backup", "Keep database, files and runs in training, while all goes on.")
    backup.add_argument("target", help="a folder to make, or a file when it ends in .tar")
    restore = command("restore", "Bring a backup back into an empty home and database.")
    restore.add_argument("source", help="what `distillhub backup` made")
    command("collect-static", "Hash and compress the static files (for images of containers).")
    prepare = command("prepare", None)
    prepare.add_argument("--demo", action="store_true")
    command("demo", None)
    command("sign-in-link", "Print a link that signs in the local administrator, once.")
    reset = command("reset-second-factor", "Let somebody who lost their app sign in without it.")
    reset.add_argument("username")
    token = command("create-token", "Make a REST token; it is alone on the last line.")
    token.add_argument("username")
    token.add_argument("--create", action="store_true", help="make the user when there is none")
    token.add_argument("--name", default="command line", help="to recognise the token by")
    token.add_argument("--scope", choices=["read", "write", "track", "infer"], default="write")
    storage = command("storage", "Tell what lies in storage, and free what nothing names any more.")
    storage.add_argument("--free", action="store_true", help="free it (else nothing changes)")
    storage.add_argument("--show", type=_positive, default=20, metavar="N", help="names told (20)")
    storage.add_argument(
        "--even-so", action="store_true", help="free it also when it is more than half of all"
    )
    rotate = command("rotate-keys", "Seal the stored keys of APIs with a new secret.")
    rotate.add_argument("--forget", action="store_true", help="forget all but the newest secret")
    audit = command("audit", "Verify the log of who did what, or write it out.")
    audit.add_argument("what", choices=["verify", "export"])
    audit.add_argument("--against", metavar="HEAD", help="a head that was told earlier")
    audit.add_argument("--project", metavar="SLUG", help="export what was done in it alone")
    audit.add_argument("--csv", action="store_true", help="export a table (else JSON Lines)")
    doctor = command("doctor", "Check that everything needed is there, and say what to do.")
    doctor.add_argument("--only", metavar="PART", help="python, settings, database, broker, ...")
    doctor.add_argument("--strict", action="store_true", help="a warning is a failure, too")
    remote_options.add(command)
    return parser


def _port(raw: str) -> int:
    if not raw.isdigit() or not 0 < int(raw) < 65536:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, not {raw!r}")
    return int(raw)


def _positive(raw: str) -> int:
    if not raw.isdigit() or int(raw) < 1:
        raise argparse.ArgumentTypeError(f"a whole number above 0, not {raw!r}")
    return int(raw)
