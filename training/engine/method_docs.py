"""docs/methods.md, made from the catalog: `python -m training.engine methods --markdown`."""

import textwrap
from typing import Any

JSON = dict[str, Any]
HEAD = """# Methods

Everything the engine offers, made from its registries by
`python -m training.engine methods --markdown` (a test keeps this page current). The same
catalog is served at `/api/v1/methods/`. How to add one: [extending.md](extending.md). What the
settings of other libraries are in these terms: [recipes.md](recipes.md).

The total is a weighted sum, `total = Σ weight · term`: every term is logged on its own as
`train/<key>`, in a readable unit. There is no free alpha: libraries disagree on which side it
weighs. Divergences are computed in float32 whatever the model's precision.
"""
SECTIONS = (
    (
        "losses",
        "Losses",
        "`s` and `t` are the student's and the teacher's logits, `T` the temperature.",
    ),
    ("schemes", "Schemes", "Who teaches whom."),
    ("tasks", "Tasks", "Keys are Hugging Face's pipeline tags."),
    (
        "derivations",
        "Students made from a teacher",
        "A smaller network that begins with weights of a trained one, of its task, labels and\n"
        "preprocessing. Where a dataset is given, its rows say what to keep.",
    ),
    (
        "exporters",
        "Exports",
        "What a version of a model is shipped as. Each is opened again, answers validation rows, "
        "and is\nheld against the model it came from: agreement, loss of accuracy, size, latency.",
    ),
    (
        "compressors",
        "Compressors",
        "What makes a model smaller or faster before it is shipped. Those that train take a "
        "teacher's answers\nwhere one is named, else the labels.",
    ),
    (
        "detectors",
        "Detectors of drift",
        "Is what a shipped model meets unlike its reference? Those of windows take sketches or "
        "rows, those of\nstreams one value after another ([monitoring.md](monitoring.md)).",
    ),
    (
        "descriptors",
        "Descriptors of inputs",
        "What is watched of a text, a picture or a sound: the signal `described.<key>`\n"
        "([monitoring.md](monitoring.md)). Of a table its columns are watched themselves.",
    ),
    ("optimizers", "Optimizers", ""),
    ("schedules", "Schedules", "The learning rate after the warm-up; `p` runs from 0 to 1."),
)


def markdown(catalog: JSON) -> str:
    """The whole page."""
    parts = [HEAD]
    for kind, title, said in SECTIONS:
        parts.append(f"## {title}\n")
        if said:
            parts.append(f"{said}\n")
        parts += [_method(method) for method in catalog[kind]]
    parts.append("## Training options\n\nOf every run, whatever its losses.\n")
    parts.append(_options(catalog["training"]))
    parts.append("## Presets\n\nWhere a run can begin; each is trained end to end by a test.\n")
    parts.append("| preset | what, and when | begins with | source |\n|---|---|---|---|")
    for preset in catalog["presets"]:
        words = " ".join(filter(None, (preset["summary"], preset["when"], preset["warning"])))
        parts.append(f"| {preset['label']} | {words} | {_begins(preset)} | {preset['paper']} |")
    parts.append("")
    parts.append(_architectures(catalog["architectures"]))
    return "\n".join(parts).rstrip() + "\n"


def _begins(preset: JSON) -> str:
    """`scheme`; then the terms with their weights, stage after stage."""
    scheme = preset["scheme"] if isinstance(preset["scheme"], str) else preset["scheme"]["kind"]
    stages = [stage["losses"] for stage in preset["stages"]] or [preset["losses"]]
    sums = [" + ".join(f"{one['weight']:g} · `{one['kind']}`" for one in sum_) for sum_ in stages]
    said = ", then ".join(sums)
    return said if scheme in ("offline", "staged") else f"`{scheme}`: {said}"


def _method(method: JSON) -> str:
    lines = [f"### {method['label']} (`{method['key']}`)\n", _lines(method["summary"])]
    if method["formula"]:
        lines.append(_lines(method["formula"], indent="    "))
    if method["paper"]:
        lines.append(_lines(f"Source: {method['paper']}."))
    if method.get("architectures"):
        named = ", ".join(f"`{one}`" for one in method["architectures"])
        lines.append(_lines(f"For {named}."))
    if method.get("formats"):
        lines.append(f"Ships as {', '.join(f'`{one}`' for one in method['formats'])}.\n")
    if method.get("watches"):
        said = ", ".join(method["watches"])
        lines.append(_lines(f"Watches {said}; takes {' or '.join(method['takes'])}."))
    if method.get("reads"):
        unit = f", in {method['unit']}" if method["unit"] else ""
        lines.append(_lines(f"Of {method['reads']}: {method['kind']}{unit}."))
    if method["options"]:
        lines.append(_options(method["options"]))
    return "\n".join(lines)


def _lines(text: str, indent: str = "") -> str:
    """A paragraph whose lines a person can read in a terminal."""
    return (
        textwrap.fill(
            text,
            120,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        + "\n"
    )


def _options(options: list[JSON]) -> str:
    lines = ["| option | default | limits | what |", "|---|---|---|---|"]
    for one in options:
        default = "empty" if one["default"] is None else str(one["default"])
        lines.append(f"| `{one['name']}` | {default} | {_limits(one)} | {one['help']} |")
    return "\n".join(lines) + "\n"


def _limits(one: JSON) -> str:
    if one["choices"]:
        return ", ".join(one["choices"])
    low, high = one["minimum"], one["maximum"]
    if low is None and high is None:
        return str(one["type"])
    return f"{low if low is not None else ''} to {high if high is not None else ''}".strip()


def _architectures(architectures: list[JSON]) -> str:
    lines = [
        "## Architectures\n",
        "Small ones of our own come first. An architecture of transformers takes every key of its "
        "own configuration\nbesides the options shown; its weights are drawn at random, or come "
        "from a checkpoint.\n",
    ]
    lines += [_method(one) for one in architectures if one["kind"] == "small"]
    lines += [
        "### From transformers\n",
        "| key | name | task | source | options |",
        "|---|---|---|---|---|",
    ]
    for one in architectures:
        if one["kind"] == "transformers":
            options = ", ".join(f"`{part['name']}`" for part in one["options"])
            lines.append(
                f"| `{one['key']}` | {one['label']} | {', '.join(one['tasks'])} | {one['paper']} | "
                f"{options} |"
            )
    return "\n".join(lines)
