"""Which function answers which command, and how failures look in a terminal."""

import argparse
import importlib
import sys

from distillhub.lib.env import BadSetting
from distillhub.lib.errors import DomainError
from distillhub.supervisor import CannotStart

# A module is imported only when its command is asked for: `up` must stay small.
COMMANDS = {
    "up": "distillhub.cli.up:up",
    "web": "distillhub.cli.serve:web",
    "worker": "distillhub.cli.serve:worker",
    "beat": "distillhub.cli.serve:beat",
    "restart": "distillhub.cli.prepare:restart",
    "migrate": "distillhub.cli.prepare:migrate",
    "backup": "distillhub.cli.backup:backup",
    "restore": "distillhub.cli.backup:restore",
    "collect-static": "distillhub.cli.prepare:collect_static",
    "prepare": "distillhub.cli.prepare:prepare",
    "demo": "distillhub.cli.prepare:make_demo",
    "sign-in-link": "distillhub.cli.people:sign_in_link",
    "create-token": "distillhub.cli.people:create_token",
    "reset-second-factor": "distillhub.cli.people:reset_second_factor",
    "storage": "distillhub.cli.sweep:storage",
    "rotate-keys": "distillhub.cli.sealing:rotate_keys",
    "audit": "distillhub.cli.auditing:audit_log",
    "doctor": "distillhub.cli.doctor:doctor",
    "login": "distillhub.cli.remote:login",
    "logout": "distillhub.cli.remote:logout",
    "projects": "distillhub.cli.remote:projects",
    "upload": "distillhub.cli.remote:upload",
    "import": "distillhub.cli.remote:import_runs",
    "run": "distillhub.cli.remote:run",
    "runs": "distillhub.cli.remote:runs",
    "watch": "distillhub.cli.remote:watch",
    "cancel": "distillhub.cli.remote:cancel",
    "download": "distillhub.cli.remote:download",
    "predict": "distillhub.cli.remote:predict",
}


def run(command: str, options: argparse.Namespace) -> int:
    module, _, function = COMMANDS[command].partition(":")
    try:
        answer = getattr(importlib.import_module(module), function)(options)
    except (BadSetting, CannotStart) as error:
        print(error, file=sys.stderr)
        return 1
    except DomainError as error:
        print(error.detail, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    assert isinstance(answer, int)
    return answer
