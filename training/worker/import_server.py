"""Runs of an MLflow server, asked over its REST API (docs/mlflow.md has the same protocol, ours).

The address is a person's: distillhub/lib/outgoing.py says where nothing is sent, each answer has a
size and a time, no redirect is followed, and the token goes nowhere else.
"""

import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, Any
from urllib.parse import quote, urlsplit

from distillhub.lib import leases, outgoing, secrets
from distillhub.lib.later import Later
from distillhub.lib.leases import GivenBack
from training.trackers import limits, mlflow_words, run_files
from training.trackers.found import FoundFile, FoundRun, Unreadable, Writer

httpx2 = Later("httpx2")
outgoing_http = Later("distillhub.lib.outgoing_http")

API = "/api/2.0/mlflow"
API_OF_FILES = "/api/2.0/mlflow-artifacts/artifacts"
SECONDS, FILE_SECONDS = 60.0, 300.0  # for one answer
FOLDERS = 200  # of a run, whose files are asked for
TRIES = 4
PASSING = frozenset({429, 500, 502, 503, 504})
PAGE, HISTORY = 100, 10_000
EXPERIMENTS = 1000

Page = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Server:
    address: str
    token: str = ""
    user: str = ""  # with one, the token is its password

    def __repr__(self) -> str:
        return f"Server({self.address!r})"


class Client:
    """Asks one server. Raises Unreadable with a sentence, in which no token is."""

    def __init__(self, server: Server) -> None:
        self.server = server
        try:
            outgoing.check(server.address)
        except outgoing.Refused as refused:
            raise Unreadable(refused.code, refused.detail) from None
        headers, auth = {"accept": "application/json"}, None
        if server.user:
            auth = (server.user, server.token)
        elif server.token:
            headers["authorization"] = f"Bearer {server.token}"
        self._headers, self._auth = headers, auth
        self._http = outgoing_http.client(seconds=SECONDS, connections=2)
        self._files = outgoing_http.client(
            seconds=FILE_SECONDS, connections=1, most_bytes=limits.FILE_OF_SERVER
        )

    def close(self) -> None:
        self._http.close()
        self._files.close()

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._asked("POST", path, json=dict(body))

    def get(self, path: str, /, **query: Any) -> dict[str, Any]:
        return self._asked("GET", path, params=query)

    @contextmanager
    def file(self, run_id: str, root: str, path: str) -> Iterator[IO[bytes]]:
        """A file of a run, whose files lie at `root` there. Asked for once: what is not had is told
        and left out."""
        if leases.stopping.is_set():
            raise GivenBack
        query: dict[str, str] = {}
        place = urlsplit(root)
        if place.scheme == "mlflow-artifacts":  # the server sends it; else it fetches it first
            url = f"{API_OF_FILES}/{quote(place.path.strip('/'))}/{quote(path)}"
        else:
            url, query = "/get-artifact", {"path": path, "run_uuid": run_id, "run_id": run_id}
        try:
            answer = self._files.request(
                "GET",
                self.server.address.rstrip("/") + url,
                params=query,
                headers=self._headers | {"accept": "*/*"},
                auth=self._auth,
            )
        except outgoing_http.TooLong:
            most = limits.FILE_OF_SERVER >> 20
            raise Unreadable("too_large", f"larger than {most} MiB.") from None
        except httpx2.HTTPError as error:
            raise Unreadable("server_away", f"not sent ({type(error).__name__}).") from None
        if answer.status_code != 200:
            raise Unreadable("server_said", f"the server answered {answer.status_code}.")
        yield io.BytesIO(answer.content)

    def _asked(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        url = self.server.address.rstrip("/") + API + path
        for attempt in range(1, TRIES + 1):
            if leases.stopping.is_set():
                raise GivenBack
            try:
                answer = self._http.request(
                    method, url, headers=self._headers, auth=self._auth, **more
                )
            except outgoing_http.Refused as refused:
                raise Unreadable("address_refused", str(refused)) from None
            except httpx2.HTTPError as error:
                said = f"{self.server.address} does not answer ({type(error).__name__})."
                fault = Unreadable("server_away", f"{said} Try again.")
            else:
                if answer.status_code not in PASSING:
                    return self._read(answer)
                fault = Unreadable("server_away", f"It answered {answer.status_code}. Try again.")
            if attempt < TRIES and leases.stopping.wait(0.5 * 2**attempt):
                raise GivenBack
        raise fault

    def _read(self, answer: Any) -> dict[str, Any]:
        where, status = self.server.address, answer.status_code
        if status in (401, 403):
            sentence = f"{where} refuses ({status}). Give a token that may read there."
            raise Unreadable("refused", sentence)
        try:
            found = json.loads(answer.content)
        except ValueError:
            found = None
        if status == 200 and isinstance(found, dict):
            return found
        said = found.get("message") if isinstance(found, dict) else None
        if said is None:
            sentence = f"{where} is no tracking server of MLflow: it answered {status}."
            raise Unreadable("not_mlflow", sentence)
        told = secrets.without(self.server.token, str(said))[:300]
        raise Unreadable("server_said", f"{where} said: {told}")


def read(
    client: Client,
    out: Writer,
    *,
    experiments: Sequence[str],
    chosen: Sequence[str] | None,
    takes: bool,
    say: Callable[[str], None],
) -> None:
    """Write what is found, run by run; `takes` also what they measured, and the files beside them.
    Raises Unreadable."""
    for run in _runs(client, out, experiments):
        if chosen is not None and run.key not in chosen:
            continue
        names = list(run.series)
        run.series_known = len(names)
        run.series = {}
        if takes:
            say(f"{run.name}, {out.runs + 1:,}")
            _measured(client, run, names[: limits.SERIES], limits.POINTS - out.points)
            run.series_known = None
            _files(client, run)
        elif out.runs % 20 == 0:
            say(f"{out.runs:,} runs")
        out.add(run)
    if not out.runs:
        raise Unreadable("no_runs", f"{client.server.address} has no run that could be read.")


def _runs(client: Client, out: Writer, wanted: Sequence[str]) -> Iterator[FoundRun]:
    """Each with its latest values, by which its series are known."""
    known = _experiments(client)
    if missing := sorted(set(wanted) - set(known.values())):
        some = ", ".join(sorted(known.values())[:10])
        raise Unreadable("no_experiment", f"There is no experiment {missing[0]}, but {some}.")
    for identity, name in known.items():
        if wanted and name not in wanted:
            continue
        asked: Page = {
            "experiment_ids": [identity],
            "max_results": PAGE,
            "run_view_type": "ACTIVE_ONLY",
        }
        for answer in _pages(partial(_searched, client, "/runs/search", asked)):
            for told in _list(answer.get("runs")):
                yield _run(told, name)


def _experiments(client: Client) -> dict[str, str]:
    found: dict[str, str] = {}
    asked: Page = {"max_results": PAGE, "view_type": "ACTIVE_ONLY"}
    for answer in _pages(partial(_searched, client, "/experiments/search", asked)):
        for one in _list(answer.get("experiments")):
            found[str(one.get("experiment_id"))] = str(one.get("name"))
        if len(found) > EXPERIMENTS:
            sentence = f"It has more than {EXPERIMENTS:,} experiments. Name those to import."
            raise Unreadable("too_many_experiments", sentence)
    return found


def _searched(client: Client, path: str, asked: Page, page: Page) -> Page:
    return client.post(path, {**asked, **page})


def _history(client: Client, asked: Page, page: Page) -> Page:
    return client.get("/metrics/get-history", **asked, max_results=HISTORY, **page)


def _pages(ask: Callable[[Page], Page]) -> Iterator[Page]:
    token, seen = "", set[str]()
    while True:
        answer = ask({"page_token": token} if token else {})
        yield answer
        token = str(answer.get("next_page_token") or "")
        if not token:
            return
        if token in seen:
            raise Unreadable("goes_in_circles", "Its pages have no end. Tell its administrator.")
        seen.add(token)


def _run(told: dict[str, Any], experiment: str) -> FoundRun:
    info, data = _mapping(told.get("info")), _mapping(told.get("data"))
    run = mlflow_words.begin(
        str(info.get("run_id") or info.get("run_uuid") or ""),
        name=str(info.get("run_name") or ""),
        status=str(info.get("status")),
        started_ms=_number(info.get("start_time")),
        ended_ms=_number(info.get("end_time")),
        experiment=experiment,
        user=str(info.get("user_id") or ""),
    )
    run.params = {
        str(one.get("key")): mlflow_words.typed(str(one.get("value", "")))
        for one in _list(data.get("params"))
    }
    tags = {str(one.get("key")): str(one.get("value", "")) for one in _list(data.get("tags"))}
    mlflow_words.tag(run, tags)
    for one in _list(data.get("metrics")):
        run.measure(str(one.get("key")), 0, math.nan)
    return run


def _files(client: Client, run: FoundRun) -> None:
    """Name the files beside a run, folder by folder; they are fetched when they are kept."""
    identity = run.key.partition(":")[2]
    found: list[FoundFile] = []
    folders, asked = [""], 0
    while folders and len(found) <= limits.FILES_OF_RUN:
        folder = folders.pop()
        asked += 1
        if asked > FOLDERS:
            run.leave_out(f"Files beyond the first {FOLDERS} folders.")
            break
        about = {"run_id": identity, "run_uuid": identity} | ({"path": folder} if folder else {})
        try:
            pages = list(_pages(partial(_listed, client, about)))
        except Unreadable as fault:
            run.leave_out(f"Its files: {fault.sentence}")
            return
        for page in pages:
            root = str(page.get("root_uri", ""))
            for one in _list(page.get("files")):
                path = str(one.get("path", ""))
                if not path.startswith(f"{folder}/" if folder else ""):
                    continue
                if one.get("is_dir"):
                    if run_files.is_fit(path) and path != folder:
                        folders.append(path)
                    continue
                size = int(_number(one.get("file_size")) or limits.FILE_OF_SERVER)
                found.append(FoundFile(path, size, partial(client.file, identity, root, path)))
    run_files.lay(run, found)


def _listed(client: Client, about: Page, page: Page) -> Page:
    return client.get("/artifacts/list", **about, **page)


def _measured(client: Client, run: FoundRun, names: Sequence[str], most: int) -> None:
    identity = run.key.partition(":")[2]
    count = 0
    for name in names:
        asked = {"run_id": identity, "run_uuid": identity, "metric_key": name}
        pages = _pages(partial(_history, client, asked))
        for answer in pages:
            for one in _list(answer.get("metrics")):
                value = _value(one.get("value"))
                step, at = _number(one.get("step", 0)), _number(one.get("timestamp"))
                if value is None or step is None or not step.is_integer() or abs(step) > 2**60:
                    run.leave_out(f"Points of {name}: they are no numbers.")
                    continue
                run.measure(name, int(step), value, at / 1000 if at else math.nan)
                count += 1
            if count > most:
                sentence = f"There are more than {limits.POINTS:,} points. Choose fewer runs."
                raise Unreadable("too_many_points", sentence)


def _value(value: Any) -> float | None:
    words = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    return words.get(value) if isinstance(value, str) else _number(value, finite=False)


def _number(value: Any, *, finite: bool = True) -> float | None:
    """int64 may be written as texts."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) or not finite else None


def _list(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
