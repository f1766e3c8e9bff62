"""Words of the commands that ask a hub; what they do stands in remote.py."""

import argparse
from collections.abc import Callable

Command = Callable[[str, str], argparse.ArgumentParser]


def add(command: Command) -> None:
    login = command("login", "Keep a token for a hub; it is read from the terminal or stdin.")
    login.add_argument("address", help="as a browser opens it: https://hub.example.org")
    logout = command("logout", "Forget the token that was kept for a hub.")
    logout.add_argument("address", nargs="?", default="", help="(the last one)")
    _asked(command("projects", "List the projects at a hub."), project=False)

    upload = _asked(command("upload", "Upload a dataset, and wait until it is taken in."))
    upload.add_argument("file", nargs="+", help="one, or several called train, validation, test")
    upload.add_argument("--name", required=True, help="of the dataset; known: its next version")
    upload.add_argument("--task", default="text-classification", help="(text-classification)")
    upload.add_argument("--columns", metavar="JSON", help='{"text": "query", "label": "intent"}')

    brought = _asked(command("import", "Import runs that another tracker kept."))
    brought.add_argument("source", nargs="?", default="", help="a folder (mlruns, ...) or a file")
    brought.add_argument("--name", default="", help="of a run that has none, as a table's")
    brought.add_argument("--server", default="", metavar="URL", help="an MLflow server instead")
    brought.add_argument("--experiment", action="append", help="at the server; may be repeated")
    brought.add_argument("--files", action="store_true", help="with files beside runs of MLflow")
    brought.add_argument("--look", action="store_true", help="show what is there, take nothing")

    run = _asked(command("run", "Launch a run of a configuration in YAML or JSON."))
    run.add_argument("file", help="the configuration; - for stdin")
    run.add_argument("--watch", action="store_true", help="and wait until it is over")
    runs = _asked(command("runs", "List the runs of a project."))
    runs.add_argument("--status", default="", help="queued, training, finished, ...")
    runs.add_argument("--search", default="", help="words of names, tags and notes")
    runs.add_argument("--filter", default="", help="metrics.val/accuracy > 0.9")
    runs.add_argument("--limit", type=int, default=20, metavar="N", help="(20)")
    for name, says in (
        ("watch", "Show the progress of a run until it is over; 0 when it finished."),
        ("cancel", "Cancel a run."),
    ):
        _asked(command(name, says)).add_argument("number", type=int, help="of the run")

    download = _asked(command("download", "Download a model (or, with --dataset, a dataset)."))
    download.add_argument("reference", help="run/12, tiny@2, tiny@production, tiny")
    download.add_argument("--output", metavar="FILE", help="(named after it, here)")
    download.add_argument("--dataset", action="store_true", help="it is one: mails@1")
    predict = _asked(command("predict", "Ask a model; one answer a line, as JSON."))
    predict.add_argument("reference", help="tiny@2, tiny@production, tiny")
    predict.add_argument("text", nargs="*", help="(lines of stdin)")


def _asked(parser: argparse.ArgumentParser, *, project: bool = True) -> argparse.ArgumentParser:
    parser.add_argument(
        "--hub", default="", metavar="URL", help="(DISTILLHUB_URL, or the last login)"
    )
    if project:
        parser.add_argument("--project", required=True, metavar="SLUG", help="as in its address")
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser
