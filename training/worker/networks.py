"""Inspecting a model version: the network is fetched or built once, and the version's row says what
it is."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from distillhub.lib import secrets
from distillhub.lib.leases import Held
from projects.models import ModelVersion
from training.answering import connection
from training.answering.faults import Fault
from training.worker import derivations, folders
from training.worker.work import Columns, Failed, Work

#: What a child that fetches from the hub is told of the network, besides the ordinary environment.
NETWORK = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


class Inspecting(Work[ModelVersion]):
    model = ModelVersion
    job, names, verb = "training.inspect_model_version", "version_id", "inspect"
    related = ("model__project", "created_by")
    asked_at = "created_at"
    hours = 1  # a large checkpoint has to come over the network
    alone = tells = False

    def prepare(self, row: ModelVersion, folder: Path) -> Columns:
        folders.place_files(row, folder / "model")
        return {
            "task": row.model.task,
            "source": row.source,
            "architecture": row.architecture,
            "config": row.config,
            "path": "model" if row.files else None,
            **derivations.place(row, folder),
        }

    def surroundings(self, row: ModelVersion) -> Mapping[str, str]:
        if row.source.get("kind") != "hub":
            return {}
        known = {name: os.environ[name] for name in NETWORK if name in os.environ}
        known |= {name.lower(): value for name, value in known.items()}
        return known | {"HF_ENDPOINT": settings.HF_ENDPOINT, "HF_HUB_OFFLINE": "0"}

    def _done(self, held: Held[ModelVersion], folder: Path) -> Columns:
        """What answers through an API is asked for a word, which takes no child."""
        if held.row.source.get("kind") != "api":
            return super()._done(held, folder)
        try:
            return {"source": held.row.source | connection.examine(held.row)}
        except Fault as fault:
            raise Failed(fault.reason, fault.sentence) from None
        except secrets.Unreadable as sealed:
            raise Failed(sealed.code, sealed.detail) from None

    def found(self, row: ModelVersion, result: Mapping[str, Any], folder: Path) -> Columns:
        learned = {
            name: result[name] for name in ("revision", "made", "assumes") if result.get(name)
        }
        files = row.files or folders.store_files(result["files"], folder / (result["folder"] or ""))
        return {
            "source": row.source | learned,
            "architecture": result["architecture"],
            "config": result["config"],
            "parameters": result["parameters"],
            "size_bytes": result["size_bytes"],
            "labels": result["labels"] or row.labels,
            "problem": result.get("problem") or row.problem,
            "tokenizer": result["tokenizer"],
            "files": files,
        }

    def announce(self, row: ModelVersion) -> None:
        row.announce()


WORK = Inspecting()
