"""The rows behind every point: what was asked and answered, and what labels and teacher say."""

import math
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from distillhub.lib import downloads
from distillhub.lib.errors import DomainError, Missing
from distillhub.templatetags import ui
from projects import permissions
from projects.models import Project, Role
from projects.permissions import person
from training.engine import conversations
from training.models import Monitor, MonitorWindow
from training.services import inferences, live_reviews, live_rows, monitors, signals
from training.services.inference_records import BY_WORD, SEPARATOR, VECTORS, WRITTEN
from training.views import monitor_parts as parts
from training.views import monitor_row_words

JSON = dict[str, Any]

PAGE = 25
SHOWN = 12  # columns of an input that are shown in a line
CHANCES = 5  # classes whose probability a row's page shows
LONGEST = 300  # characters of a text in a line
WORDS = ("prediction", "slice", "q")
#: What is known of a written answer, besides what describes it.
ANSWERS = {
    "tokens": "tokens", "log_probability": "log probability of a token",
    "label_same": "same as the label", "label_alike": "alike with the label",
    "teacher_same": "same as the teacher's", "teacher_alike": "alike with the teacher's",
}  # fmt: skip
YES = ("1", "true", "on")


@require_safe
def monitor_rows(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    project, monitor = parts.monitor_of(request, project_slug, name)
    given = request.GET
    window = _window(monitor, given.get("window", ""))
    row_id = given.get("id", "")[:200]
    asked, refused, rows, following = _asked(given, window), "", [], None
    try:
        if row_id:
            rows = inferences.by_ids(monitor, [row_id])
        elif "foreign" in given:
            rows = _foreign(monitor, window)
        else:
            found = inferences.rows(
                monitor,
                inferences.Asked(**asked),
                limit=PAGE,
                cursor=given.get("cursor", "")[:60],
            )
            rows, following = found.rows, found.next
    except DomainError as error:
        refused = error.detail
    shown = [shown_of(project, monitor, one) for one in rows]
    context = {
        **parts.frame(project, monitor, "rows"),
        "window": window,
        "rows": shown,
        "one": _whole(shown[0], rows[0]) if row_id and rows else None,
        "row_id": row_id,
        "refused": refused,
        "asked": {**asked, "foreign": "foreign" in given},
        "filtered": any(
            given.get(key) for key in (*WORDS, "wrong", "disagreeing", "foreign", "id")
        ),
        "next": following,
        "is_first": "cursor" not in given,
        "slices": [one["name"] for one in monitor.slices],
        "selectable": monitor.labels if len(monitor.labels) <= 500 else [],
        "ways": _ways(monitor, given),
        "waiting": inferences.count_waiting(monitor),
        "dataset": live_rows.dataset_of(monitor=monitor) if window is not None else None,
        "newest": monitor.windows.order_by("-number").values_list("number", flat=True)[:60],
        "with_label": any(one["label"] is not None for one in rows),
        "with_teacher": any(one["teacher"] for one in rows),
        "with_latency": any(one["latency_ms"] is not None for one in rows),
        "reads": "audio" if monitor.task.startswith("audio") else "image",
    }
    return render(request, "training/monitor_rows.html", context)


@require_safe
def monitor_row_file(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    """The picture or sound of the row that the address names by `id`."""
    _, monitor = parts.monitor_of(request, project_slug, name)
    content = live_rows.content(monitor=monitor, row_id=request.GET.get("id", "")[:200])
    if monitor.task.startswith("audio"):
        return downloads.sound(content, asked=request.headers.get("Range", ""))
    return downloads.picture(content)


@require_POST
def monitor_rows_collect(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    """The rows of a window as the next version of a dataset; with `review`, for people then."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    monitor = monitors.find(project=project, name=name)
    window = _window(monitor, request.POST.get("window", ""))
    back = parts.rows_address(project, monitor)
    if window is None:
        raise Missing("Say whose rows: the number of a window.")
    queue, by = None, person(request)
    try:
        if "review" in request.POST:
            queue = live_reviews.send(monitor=monitor, window=window, by=by)
            made = queue.version
        else:
            made = live_rows.collect(monitor=monitor, window=window, by=by)
    except DomainError as error:
        messages.error(request, error.detail)
        return redirect(f"{back}?window={window.number}")
    sentence = f"A worker makes {made.reference} with the rows of window {window.number} in it."
    if queue is not None:
        sentence += " Once it is ready, they are handed out here."
        messages.success(request, sentence)
        return redirect("projects:review_detail", project.slug, queue.pk)
    messages.success(request, sentence)
    return redirect("projects:dataset_version", project.slug, made.dataset.name, made.number)


def _window(monitor: Monitor, text: str) -> MonitorWindow | None:
    """Raises Missing for one that is not there."""
    if not text:
        return None
    if text.isdecimal() and len(text) < 19:
        found = monitor.windows.filter(number=int(text)).only(*parts.COLUMNS, "facts").first()
        if found is not None:
            return found
    raise Missing(f"There is no window {text[:40]} of this monitor.")


def _asked(given: QueryDict, window: MonitorWindow | None) -> JSON:
    found: JSON = {key: given.get(key, "").strip()[:200] for key in WORDS}
    found |= {key: given.get(key, "") in YES for key in ("wrong", "disagreeing")}
    return found | {"window": window.number if window is not None else None}


def _foreign(monitor: Monitor, window: MonitorWindow | None) -> list[JSON]:
    """The rows of the window, else of the newest that names some, that lie farthest away."""
    if window is None:
        for one in monitor.windows.order_by("-number").only(*parts.COLUMNS, "facts")[:5]:
            if one.facts.get("most_foreign"):
                window = one
                break
    if window is None:
        return []
    far = dict(window.facts.get("foreign") or ())
    rows = inferences.by_ids(monitor, window.facts.get("most_foreign") or [])
    return [row | {"far": far.get(row["id"])} for row in rows]


def _ways(monitor: Monitor, given: QueryDict) -> list[JSON]:
    """The few questions that are asked of rows most often, as links."""
    kept: dict[str, str] = {"window": given.get("window", "")} if given.get("window") else {}
    ways: list[tuple[str, dict[str, str]]] = [("all", {}), ("only wrong", {"wrong": "1"})]
    ways += [("disagreeing with the teacher", {"disagreeing": "1"})]
    ways += [("wrong and disagreeing", {"wrong": "1", "disagreeing": "1"})]
    if not monitor.labels and monitor.task != WRITTEN:
        ways = [ways[0], *(ways[2:3] if monitor.task == VECTORS else ())]
    ways.append(("most foreign", {"foreign": "1"}))
    now = {key for key in ("wrong", "disagreeing", "foreign") if given.get(key)}
    return [
        {"words": words, "query": urlencode({**kept, **said}), "here": set(said) == now}
        for words, said in ways
    ]


def shown_of(project: Project, monitor: Monitor, row: Mapping[str, Any]) -> JSON:
    """A row for a line of the table."""
    given, chances = row["input"], row["probabilities"] or {}
    by_word = monitor.task == BY_WORD
    file, text, columns = "", "", []
    if isinstance(given, dict) and isinstance(given.get("sha256"), str) and len(given) == 1:
        here = reverse("training:monitor_row_file", args=[project.slug, monitor.name])
        file = f"{here}?{urlencode({'id': row['id']})}"
    elif isinstance(given, dict):
        columns = [(name, _value(value)) for name, value in list(given.items())[:SHOWN]]
    elif given is not None:
        text = _spoken(given) if monitor.task == WRITTEN else str(given)
    label, said = row["label"], row["prediction"]
    teacher = (row["teacher"] or {}).get("prediction")
    answered = row["answered"]
    named = _named if monitor.several_labels or monitor.task == VECTORS else _plain
    if by_word:
        named = _tags
    return {
        "id": row["id"],
        "time": row["time"],
        "window": row["window"],
        "file": file,
        "text": text,
        "columns": columns,
        "more": max(0, len(given) - SHOWN) if columns and isinstance(given, dict) else 0,
        "spans": {
            who: monitor_row_words.spans(monitor, text, tags)
            for who, tags in (("prediction", said), ("label", label), ("teacher", teacher))
        }
        if by_word
        else {},
        "prediction": named(said),
        "confidence": _sure(answered, chances, said),
        "label": named(label),
        "is_wrong": (label is not None and bool(monitor.labels) and label != said)
        or answered.get("label_same") == 0,
        "teacher": named(teacher),
        "differs": _differs(monitor, said, teacher) or answered.get("teacher_same") == 0,
        "latency_ms": row["latency_ms"],
        "far": row.get("far"),
        "query": urlencode({"id": row["id"]}),
    }


def _spoken(text: Any) -> str:
    """A chat as people read it."""
    said = conversations.messages(str(text))
    if said is None:
        return str(text)
    return "\n".join(f"{one['role']}: {one['content']}" for one in said)


def _sure(answered: Mapping[str, Any], chances: Any, said: Any) -> float | None:
    """How likely the answer is; of a text, a token of it in the mean."""
    if "log_probability" in answered:
        return math.exp(answered["log_probability"])
    if isinstance(chances, list):  # of words, in the mean
        return sum(max(one.values()) for one in chances) / len(chances) if chances else None
    return chances.get(said) if isinstance(said, str) else None


def _differs(monitor: Monitor, said: Any, teacher: Any) -> bool:
    """Of models of vectors: the teacher's neighbour is none of the student's."""
    if teacher is None or said is None:
        return False
    if monitor.task == VECTORS:
        return teacher not in str(said).split(SEPARATOR)
    return bool(monitor.labels) and teacher != said


def _plain(said: Any) -> Any:
    return said


def _named(said: str | None) -> str | None:
    """Several labels, or none, in words."""
    if said is None:
        return None
    return ", ".join(one for one in said.split(SEPARATOR) if one) or "no label"


def _tags(said: list[str] | None) -> str | None:
    return " ".join(said) if said else None


def _whole(line: JSON, row: Mapping[str, Any]) -> JSON:
    """A row by itself: all that is known of it."""
    if line["spans"]:
        return _known(line, row) | {
            "words": monitor_row_words.each(line["text"], row), "chances": [], "of_teacher": [],
        }  # fmt: skip
    chances = list((row["probabilities"] or {}).items())[:CHANCES]
    of_teacher = list(((row["teacher"] or {}).get("probabilities") or {}).items())[:CHANCES]
    return _known(line, row) | {"chances": chances, "of_teacher": of_teacher}


def _known(line: JSON, row: Mapping[str, Any]) -> JSON:
    given = row["input"]
    return line | {
        "columns": [(name, _value(value)) for name, value in given.items()]
        if line["columns"] and isinstance(given, dict)
        else [],
        "described": [(name.replace("_", " "), _value(v)) for name, v in row["described"].items()],
        "answered": [
            (signals.words(f"answered.{name}") if name not in ANSWERS else ANSWERS[name], _value(v))
            for name, v in row["answered"].items()
        ],
        "tags": list(row["tags"].items()),
        "version": row["version"],
    }


def _value(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return ui.grouped(int(value))
        return f"{value:.4g}"
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
