"""How programs send rows to a monitor: its address, and examples made for it."""

import base64
import io
import json
import re
import wave
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from distillhub.lib import storage
from distillhub.lib.errors import DomainError
from projects.services import version_rows
from training.models import Monitor
from training.services import inference_records, inferences
from training.views import monitor_parts as parts

JSON = dict[str, Any]

#: A picture of one pixel, as a file.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
CLIENT, SHORT = "clients/distillhub_monitor.py", "clients/ten_lines.py"
FASTAPI, DJANGO = "clients/fastapi_monitor.py", "clients/django_monitor.py"


@require_safe
def monitor_connect(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    project, monitor = parts.monitor_of(request, project_slug, name)
    api = reverse("api_inferences", args=[project.slug, monitor.name])
    address = request.build_absolute_uri(api).removesuffix("/inferences/")
    record = example(monitor)
    context = {
        **parts.frame(project, monitor, "connect"),
        "address": address,
        "record": record,
        "curl": _curl(address, record),
        "later": _later(address, record),
        "snippets": [
            ("python", "Python", CLIENT, _python(address, record)),
            ("fastapi", "FastAPI", FASTAPI, _fastapi(address, record)),
            ("django", "Django", DJANGO, _django(address, record)),
        ],
        "client": CLIENT,
        "short": _short(address),
        "waiting": inferences.count_waiting(monitor),
        "most": inference_records.MOST_RECORDS,
    }
    return render(request, "training/monitor_connect.html", context)


def example(monitor: Monitor) -> JSON:
    """A record that this monitor takes."""
    now: datetime = timezone.now().astimezone(UTC)
    found: JSON = {"id": "5f2c", "time": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
    if (given := _input(monitor)) is not None:
        found["input"] = given
    if monitor.labels:
        likely = monitor.labels[0]
        found["prediction"] = likely
        if monitor.task == inference_records.BY_WORD:
            return found | _of_words(monitor.labels) | {"latency_ms": 3.2}
        if monitor.several_labels:
            found["prediction"] = [likely]
            found["probabilities"] = {likely: 0.9, monitor.labels[1]: 0.2}
        elif len(monitor.labels) > 1:
            found["probabilities"] = {likely: 0.9, monitor.labels[1]: 0.1}
    elif monitor.task == inference_records.VECTORS:
        found["vector"] = [0.12, -0.5, 0.86]
    elif monitor.task == inference_records.WRITTEN:
        found |= {"prediction": "what was answered", "tokens": 4, "log_probability": -0.42}
    else:
        found["prediction"] = 12.5 if monitor.task in inference_records.TABLES else "an answer"
    return found | {"latency_ms": 3.2}


def _of_words(tags: list[str]) -> JSON:
    """Two words, of which the second is outside of all, where there are such."""
    outside = "O" if "O" in tags else tags[-1]
    other = next(one for one in tags if one != outside)
    return {
        "input": ["Ada", "wrote"],
        "prediction": [other, outside],
        "probabilities": [{other: 0.9, outside: 0.1}, {outside: 0.95, other: 0.05}],
    }


def _input(monitor: Monitor) -> Any:
    if media := inference_records.MEDIA.get(monitor.task):
        return {"base64": _silence() if media == "sound" else PIXEL}
    if monitor.task in inference_records.TABLES:
        return _cells(monitor) or {"column": 1.5}
    if monitor.task == inference_records.WRITTEN and _chats(monitor):
        return [{"role": "user", "content": "what was asked"}]
    return "what was asked"


def _cells(monitor: Monitor) -> JSON:
    """Every column, with what a row of the reference says: a column that is left out is missing."""
    version = monitor.dataset_version
    if version is None:
        return {}
    try:
        found = version_rows.rows(version=version, split=monitor.split or None, limit=1)
    except (DomainError, storage.Damaged):
        found = []
    row = found[0] if found else {}
    return {name: row.get(name, 1.5) for name in version.features}


def _silence() -> str:
    """A sound of a hundredth of a second."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(160))
    return base64.b64encode(file.getvalue()).decode()


def _chats(monitor: Monitor) -> bool:
    """Whether its reference is of chats, as far as that is told: rows without prompts."""
    version = monitor.dataset_version
    return version is not None and all(one["role"] != "prompt" for one in version.columns)


def _curl(address: str, record: JSON) -> str:
    body = json.dumps({"inferences": [record]}, ensure_ascii=False, indent=2)
    body = body.replace("'", r"'\''")
    return (
        f"curl -X POST '{address}/inferences/' \\\n"
        '  -H "Authorization: Bearer $MONITOR_TOKEN" -H "Content-Type: application/json" \\\n'
        f"  -d '{body}'"
    )


def _later(address: str, record: JSON) -> str:
    """The label of that row, once it is known; nobody can say which vector is right."""
    if "prediction" not in record:
        return ""
    label = {"id": record["id"], "label": record["prediction"]}
    body = json.dumps({"labels": [label]}, ensure_ascii=False).replace("'", r"'\''")
    return (
        f"curl -X POST '{address}/labels/' \\\n"
        '  -H "Authorization: Bearer $MONITOR_TOKEN" -H "Content-Type: application/json" \\\n'
        f"  -d '{body}'"
    )


def _python(address: str, record: JSON) -> str:
    said = {key: _spelt(value) for key, value in record.items() if key not in ("id", "time")}
    if reads := isinstance(record.get("input"), dict) and "base64" in record["input"]:
        file = "picture.png" if record["input"]["base64"] == PIXEL else "sound.wav"
        said["input"] = f'{{"base64": base64.b64encode(open("{file}", "rb").read()).decode()}}'
    return "\n".join([
        *(["import base64"] if reads else []),
        "import os",
        "from distillhub_monitor import Monitor",
        "",
        f'monitor = Monitor({_spelt(address)}, os.environ["MONITOR_TOKEN"])',
        "name = monitor.record(",
        *(f"    {key}={value}," for key, value in said.items()),
        ")",
        *_labelled(record),
    ])  # fmt: skip


def _labelled(record: JSON) -> list[str]:
    """Nobody can say which vector is right."""
    if "prediction" not in record:
        return []
    said = _spelt(record["prediction"])
    return [f"monitor.label(name, {said})  # once it is known, however late"]


def _fastapi(address: str, record: JSON) -> str:
    return "\n".join([
        "import os",
        "from distillhub_monitor import Monitor",
        "from fastapi_monitor import MonitorMiddleware",
        "",
        f'monitor = Monitor({_spelt(address)}, os.environ["MONITOR_TOKEN"])',
        'app.add_middleware(MonitorMiddleware, monitor=monitor, paths=["/predict"])',
        "",
        '@app.post("/predict")',
        "def predict(question: Question, request: Request):",
        "    answer = model(question)",
        f"    request.state.inference = {_noted(record)}",
        "    return answer",
    ])  # fmt: skip


def _django(address: str, record: JSON) -> str:
    return "\n".join([
        "# settings.py",
        'MIDDLEWARE += ["django_monitor.MonitorMiddleware"]',
        "MONITOR = {",
        f'    "address": {_spelt(address)},',
        '    "token": os.environ["MONITOR_TOKEN"],',
        '    "paths": ["/predict/"],',
        "}",
        "",
        "# views.py",
        "def predict(request):",
        "    answer = model(request)",
        f"    request.inference = {_noted(record)}",
        "    return JsonResponse(answer)",
    ])  # fmt: skip


def _noted(record: JSON) -> str:
    kept = ("input", "prediction", "probabilities", "vector", "tokens", "log_probability")
    return "{" + ", ".join(f"{_spelt(key)}: ..." for key in kept if key in record) + "}"


def _short(address: str) -> str:
    """The file without its first lines, for this monitor."""
    found = finders.find(SHORT)
    assert isinstance(found, str)
    text = Path(found).read_text(encoding="utf-8").split('"""', 2)[2].strip()
    return re.sub(r'ADDRESS = ".*"', lambda _: f"ADDRESS = {_spelt(address)}", text)


def _spelt(value: Any) -> str:
    """As Python and JSON both write it."""
    return json.dumps(value, ensure_ascii=False)
