"""How numbers, times and states are written on every page."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django import template
from django.core.serializers.json import DjangoJSONEncoder
from django.forms import BoundField, CheckboxInput, CheckboxSelectMultiple, RadioSelect, Select
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from distillhub.lib.markdown import render as markdown_of

register = template.Library()

MARKUP = {ord(sign): f"\\u{ord(sign):04X}" for sign in "<>&"}

NOTHING = "–"

TONES = {
    "waiting": "wait",
    "queued": "wait",
    "starting": "live",
    "training": "live",
    "evaluating": "live",
    "ingesting": "live",
    "inspecting": "live",
    "working": "live",
    "cancelling": "warn",
    "paused": "warn",
    "finished": "good",
    "ready": "good",
    "online": "good",
    "helped": "good",
    "failed": "bad",
    "hurt": "bad",
    "error": "bad",
    "warning": "warn",
    "no_evidence": "wait",
    "cancelled": "mute",
    "stopped": "mute",
    "lost": "bad",
    "proposed": "warn",
    "collecting": "live",
    "labelling": "live",
    "reviewing": "warn",
    "judging": "live",
    "deciding": "warn",
    "promoted": "good",
    "kept": "mute",
}

#: Metrics of which less is better; of all others more is.
LESS_IS_BETTER = (
    *("loss", "kl", "ece", "rmse", "mae", "perplexity", "bits_per_character"),
    *("latency", "seconds"),
)
#: Metrics between 0 and 1 that are written in percent.
SHARES = frozenset(
    {
        *("accuracy", "macro_f1", "micro_f1", "ece", "agreement", "retention"),
        *("token_accuracy", "exact_match", "neighbours", "preferred"),
        *("span_f1", "span_precision", "span_recall"),
    }
)
#: What the first part of a metric's name is called.
SPLITS = {
    "val": "validation",
    "train": "training",
    "test": "test",
    "teacher/val": "teacher, validation",
    "teacher/test": "teacher, test",
}
#: What a metric is called on a page, when it is not simply its name in words.
MEASURES = {
    "ece": "calibration error",
    "kl": "divergence from the teacher",
    "macro_f1": "macro F1",
    "mae": "mean error",
    "micro_f1": "micro F1",
    "neighbours": "shared neighbours",
    "preferred": "pairs preferred",
    "r2": "R²",
    "rmse": "RMSE",
    "span_f1": "span F1",
    "spearman": "rank correlation",
    "teacher_rmse": "distance to the teacher",
}


@register.filter
def tone(status: str) -> str:
    """The colour family of a status: wait, live, good, warn, bad or mute."""
    return TONES.get(str(status), "mute")


#: Words of names that are not written as they are spelt in code.
SPELT = {"gpus": "GPUs", "gpu": "GPU", "kl": "KL", "mse": "MSE", "lr": "LR"}


@register.filter
def words(code: str) -> str:
    """`out_of_memory` as `out of memory`."""
    return " ".join(SPELT.get(word, word) for word in re.split(r"[_\-\s]+", str(code)))


@register.filter
def setting(value: Any, nothing: str = NOTHING) -> str:
    """A value of a configuration: `4.0` as `4`, yes and no in words."""
    if value is None or value == "":
        return nothing
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(setting(one) for one in value) or nothing
    return str(value)


@register.filter
def duration(value: float | str | timedelta | None) -> str:
    """Seconds in the two largest units that matter: `3 h 05 m`, `2 m 10 s`, `8.4 s`, `12 ms`."""
    if value is None or value == "":
        return NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not math.isfinite(seconds):
        return NOTHING
    seconds = max(seconds, 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds else "0 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


@register.filter
def filesize(value: float | str | None) -> str:
    """Bytes in decimal units, as disks and downloads are sold: `25.1 MB`."""
    if value is None or value == "":
        return NOTHING
    number = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


@register.filter
def compact(value: float | str | None) -> str:
    """`24397` as `24.4k`: for counts, not for measurements."""
    if value is None or value == "":
        return NOTHING
    number = float(value)
    for unit in ("", "k", "M", "B"):
        if abs(number) < 999.5:
            return f"{number:.0f}" if not unit else f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g}T"


@register.filter
def bounded(said: str, version: Any) -> str:
    """A size of a model with the words that it is a bound, where nobody knows it better yet."""
    bound = said != NOTHING and getattr(version, "is_upper_bound", False)
    return f"at most {said}" if bound else said


@register.filter
def markdown(text: str) -> SafeString:
    """What people write in notes, as HTML that the page may hold."""
    return markdown_of(text, highest=3)


@register.filter
def edges(text: str) -> str:
    """A text with the line breaks at its ends as signs, which would show as nothing."""
    inner = str(text).strip("\r\n")
    begin, _, end = str(text).partition(inner) if inner else (str(text), "", "")
    return "↵" * len(begin.splitlines()) + inner + "↵" * len(end.splitlines())


@register.filter
def beginning(text: str | None, most: int = 160) -> str:
    """As much of a text as fits in `most` characters and six lines, cut after a word; all of a
    shorter one."""
    whole = str(text or "")
    lines = "\n".join(whole.splitlines()[:6])
    if len(whole) <= most and len(lines) >= len(whole.rstrip()):
        return whole
    if len(lines) <= most:
        return lines.rstrip()
    cut = re.match(rf"(?s).{{1,{most}}}(?=\s)", lines)
    return cut[0].rstrip() if cut else lines[:most]


@register.filter
def grouped(value: float | str | None) -> str:
    """`13083` as `13 083`, with spaces that do not break: for exact counts."""
    return NOTHING if value is None or value == "" else f"{int(value):,}".replace(",", "\u202f")


@register.filter
def percent(value: float | str | None, places: int = 1) -> str:
    """A fraction as a percentage; what is below one never shows as 100 %."""
    number = _number(value)
    if number is None:
        return NOTHING
    shown = round(number * 100, places)
    if number < 1 and shown >= 100:
        shown = 100 - 10**-places
    return _minus(f"{shown:.{places}f} %")


@register.filter
def span(interval: Any, places: int = 1) -> str:
    """Two shares as the ends of an interval: `93.2 to 97.1 %`; nothing where there is none."""
    if not isinstance(interval, list | tuple) or len(interval) != 2:
        return ""
    low, high = (percent(edge, places) for edge in interval)
    return "" if NOTHING in (low, high) else f"{low.removesuffix(' %')} to {high}"


@register.filter
def progress_percent(fraction: float | None) -> str:
    """Whole percents, rounded down: 100 only when it is over."""
    return str(math.floor(min(max(float(fraction or 0), 0.0), 1.0) * 100))


@register.filter
def share(fraction: float | None) -> str:
    """The length of a bar: a fraction in percent, as CSS takes it."""
    number = _number(fraction)
    return f"{min(max(number or 0.0, 0.0), 1.0) * 100:.2f}"


@register.filter
def metric(value: Any, name: str = "") -> str:
    """A measurement as every page writes it: a share in percent, anything else in the digits that
    its kind deserves."""
    if isinstance(value, str):
        return value  # NaN, Infinity: shown, never hidden
    if is_share(name):
        return percent(value)
    number = _number(value)
    if number is None:
        return NOTHING
    if name.endswith("learning_rate"):
        return _power(number)
    if "per_second" in name:
        return compact(number)
    if number and (abs(number) < 0.001 or abs(number) >= 1e5):
        return _power(number)
    return _minus(f"{number:.4f}" if abs(number) < 10 else f"{number:.2f}")


@register.filter
def is_share(name: str) -> bool:
    return _bare(name) in SHARES


@register.filter
def measure(name: str) -> str:
    """What a metric is called: `val/macro_f1` as `macro F1`."""
    return MEASURES.get(_bare(name)) or words(_bare(name))


@register.filter
def measured(name: str) -> str:
    """A metric's name with the split it was measured on: `val/ece` as `calibration error,
    validation`."""
    split, _, _ = str(name).rpartition("/")
    return f"{measure(name)}, {SPLITS.get(split, words(split))}" if split else measure(name)


def _minus(text: str) -> str:
    """With the sign that is as wide as a plus, which a hyphen is not."""
    return f"−{text[1:]}" if text.startswith("-") else text


def _power(number: float) -> str:
    return _minus(f"{number:.2e}".replace("e-0", "e-").replace("e+0", "e+"))


def _bare(name: str) -> str:
    return str(name).rpartition("/")[2]


@register.filter
def signed(value: float | None, places: int = 1) -> str:
    """A difference of two fractions in percentage points: `+1.2`."""
    number = _number(value)
    if number is None:
        return NOTHING
    return _minus(f"{number * 100:+.{places}f}")


@register.filter
def times(value: float | None) -> str:
    """A ratio: `98×`, `3.4×`."""
    number = _number(value)
    if number is None:
        return NOTHING
    return f"{number:,.0f}×" if number >= 10 else f"{number:.1f}×"


@register.filter
def milliseconds(value: float | None) -> str:
    number = _number(value)
    if number is None:
        return NOTHING
    if number >= 1000:
        return f"{number / 1000:.2f} s"
    return f"{number:.0f} ms" if number >= 100 else f"{number:.3g} ms"


@register.filter
def money(value: float | None) -> str:
    """An amount in the reader's currency, which has no name here: three digits that count."""
    number = _number(value)
    if number is None:
        return NOTHING
    if number and abs(number) < 0.001:
        places = min(12, 1 - math.floor(math.log10(abs(number))))
        return _minus(f"{number:.{places}f}")
    return _minus(f"{number:,.2f}" if abs(number) >= 100 else f"{number:.3g}")


@register.filter
def short_hash(value: str | None) -> str:
    return str(value or "")[:10]


@register.filter
def item(mapping: Mapping[str, Any] | None, name: str) -> Any:
    """A dictionary's value by a name that only the template knows."""
    return mapping.get(name) if isinstance(mapping, Mapping) else None


@register.filter
def as_json(value: Any) -> SafeString:
    """A value for a script to read out of a `<template>`. htmx leaves scripts out of what it swaps,
    so that a figure in one would be lost there."""
    text = json.dumps(value, cls=DjangoJSONEncoder)
    return mark_safe(text.translate(MARKUP))  # noqa: S308 - nothing of it can be markup now


@register.filter
def repeated(things: Iterable[Any]) -> set[str]:
    """The names that several of these have, as far as a reader can tell names apart."""
    counts = Counter(one.name.strip().casefold() for one in things)
    return {one.name for one in things if counts[one.name.strip().casefold()] > 1}


@register.filter
def less_is_better(name: str) -> bool:
    return any(word in name.rsplit("/", 1)[-1] for word in LESS_IS_BETTER)


@register.filter
def ago(moment: datetime | float | None) -> SafeString | str:
    """How long since, with the exact moment on hover."""
    if not moment:
        return NOTHING
    at = moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment, tz=UTC)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(),
        timezone.localtime(at).strftime("%d %b %Y, %H:%M:%S %Z"),  # the reader's own zone
        _since(timezone.now() - at),
    )


@register.filter
def clock(moment: datetime | float | None) -> str:
    """The time of day, for lines of a log."""
    if not moment:
        return ""
    at = moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment, tz=UTC)
    return timezone.localtime(at).strftime("%H:%M:%S")


def _since(passed: timedelta) -> str:
    seconds = passed.total_seconds()
    if seconds < 0:
        return f"in {_span(-seconds)}"
    return "just now" if seconds < 10 else f"{_span(seconds)} ago"


def _span(seconds: float) -> str:
    for size, unit in ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def _number(value: Any) -> float | None:
    """A finite number, or None for what is missing or not a number."""
    if value is None or value == "" or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


@register.simple_tag
def icon(name: str, css: str = "", label: str = "") -> SafeString:
    """An outline of static/icons.svg. Decorative unless a label is given."""
    hidden = format_html('role="img" aria-label="{}"', label) if label else 'aria-hidden="true"'
    return format_html(
        '<svg class="icon {}" {} focusable="false"><use href="{}#{}"></use></svg>',
        css,
        SafeString(hidden),
        static("icons.svg"),
        name,
    )


@register.filter
def control_kind(field: BoundField) -> str:
    """Which markup a form field needs: check, choices, select or text."""
    widget = field.field.widget
    if isinstance(widget, CheckboxInput):
        return "check"
    if isinstance(widget, RadioSelect | CheckboxSelectMultiple):
        return "choices"
    return "select" if isinstance(widget, Select) else "text"


@register.filter
def control(field: BoundField) -> SafeString:
    """A form field's widget with the classes and ARIA attributes of this design."""
    css = {"select": "form-select", "check": "form-check-input"}.get(
        control_kind(field), "form-control"
    )
    if field.errors:
        css += " is-invalid"
    attributes: dict[str, Any] = {"class": f"{field.field.widget.attrs.get('class', '')} {css}"}
    described = [f"{field.auto_id}_help"] * bool(field.help_text)
    if field.errors:
        attributes["aria-invalid"] = "true"
        described.append(f"{field.auto_id}_error")
    if described:
        attributes["aria-describedby"] = " ".join(described)
    return field.as_widget(attrs=attributes)
