"""Requests as MLflow's clients send them, without a client."""

import json
from collections.abc import Mapping
from typing import Any

from django.http.response import HttpResponseBase
from django.test import Client

from projects.models import Project, User
from projects.services import accounts

JSON = dict[str, Any]


class Caller:
    def __init__(self, project: Project, person: User, *, token: str = "") -> None:
        self.root = f"/mlflow/{project.slug}/api/2.0"
        token = token or accounts.create_token(user=person, name="client")[1]
        self.client = Client(headers={"Authorization": f"Bearer {token}"})

    def ask(self, method: str, path: str, body: Any = None, /, **query: Any) -> HttpResponseBase:
        address = f"{self.root}/mlflow/{path}"
        if method == "GET":
            return self.client.get(address, query)
        answer: HttpResponseBase = self.client.generic(
            method, address, json.dumps(body), "application/json"
        )
        return answer

    def send(self, method: str, path: str, /, **body: Any) -> tuple[int, JSON]:
        """The status and the answer."""
        answer: Any = (
            self.ask("GET", path, **body) if method == "GET" else self.ask(method, path, body)
        )
        return answer.status_code, json.loads(answer.content)

    def post(self, path: str, /, **body: Any) -> JSON:
        status, answer = self.send("POST", path, **body)
        assert status == 200, answer
        return answer

    def get(self, path: str, /, **query: Any) -> JSON:
        status, answer = self.send("GET", path, **query)
        assert status == 200, answer
        return answer

    def refused(self, path: str, method: str = "POST", /, **body: Any) -> tuple[int, str]:
        """The status, the word and the sentence of a fault."""
        status, answer = self.send(method, path, **body)
        assert set(answer) == {"error_code", "message"}, answer
        return status, f"{answer['error_code']}: {answer['message']}"

    def begin(
        self, name: str = "", tags: Mapping[str, str] | None = None, experiment: str = "0"
    ) -> str:
        """A run; its id."""
        told = [{"key": key, "value": value} for key, value in (tags or {}).items()]
        made = self.post(
            "runs/create",
            experiment_id=experiment,
            run_name=name,
            start_time=1_700_000_000_000,
            tags=told,
        )
        return str(made["run"]["info"]["run_id"])

    def log(self, run: str, params: Mapping[str, Any] | None = None, **metrics: Any) -> None:
        points = [
            {"key": key, "value": value, "timestamp": 1_700_000_000_000, "step": 0}
            for key, value in metrics.items()
        ]
        told = [{"key": key, "value": value} for key, value in (params or {}).items()]
        self.post("runs/log-batch", run_id=run, metrics=points, params=told)

    def put(self, path: str, content: bytes, content_type: str = "") -> HttpResponseBase:
        address = f"{self.root}/mlflow-artifacts/artifacts/{path}"
        answer: HttpResponseBase = self.client.generic("PUT", address, content, content_type)
        assert answer.status_code == 200, getattr(answer, "content", b"")
        return answer

    def fetch(self, path: str) -> HttpResponseBase:
        return self.client.get(f"{self.root}/mlflow-artifacts/artifacts/{path}")

    def listed(self, path: str) -> JSON:
        answer = self.client.get(f"{self.root}/mlflow-artifacts/artifacts", {"path": path})
        assert answer.status_code == 200, answer.content
        found: JSON = answer.json()
        return found
