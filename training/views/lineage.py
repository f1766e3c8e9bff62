"""Where a version comes from, and what came of it: a drawing whose boxes lead to their pages."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from distillhub.templatetags import ui
from projects import permissions
from projects.models import ModelVersion, Project
from projects.services import registry
from training import catalog
from training.charts import lineage as drawing
from training.services import lineage
from training.views import model_tabs

RUNS = 6  # whose packages are listed
LETTERS = 22  # that a box holds in a line

#: What an edge means, as a sentence goes on behind "was used as"; the rest are operations.
HOW = {
    "output": "made",
    "weights": "weights of",
    "teacher": "teacher",
    "student": "student",
    "dataset": "data",
    "answers": "answers of",
    "member": "member",
    "export": "shipped",
    "alias": "meant by",
    "live": "rows",
}


@require_safe
def model_lineage(
    request: HttpRequest, project_slug: str, model_name: str, number: int
) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    version = registry.find(project=project, name=model_name, number=number)
    graph = lineage.of_version(version=version)
    nodes = {one["id"]: _node(project, version, one) for one in graph["nodes"]}
    drawn = drawing.drawn(graph["nodes"], graph["edges"])
    for key, box in drawn["boxes"].items():
        nodes[key] |= box
    runs = [one for one in graph["nodes"] if one["kind"] == "run" and one["made_with"]][:RUNS]
    context = model_tabs.frame(project, version, "lineage") | {
        "drawn": drawn,
        "nodes": list(nodes.values()),
        "lines": [
            line | {"how": HOW.get(line["as"], ui.words(line["as"]))} for line in drawn["lines"]
        ],
        "edges": [
            (nodes[one["from"]], HOW.get(one["as"], ui.words(one["as"])), nodes[one["to"]])
            for one in graph["edges"]
        ],
        "complete": graph["complete"],
        "runs": runs,
        "packages": _packages(runs),
        "data": [one for one in graph["nodes"] if one["kind"] == "dataset"],
    }
    return render(request, "training/model_lineage.html", context)


def _packages(runs: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """(what, its value of each run), the configuration and our own code first."""
    if not runs:
        return []
    names = dict.fromkeys(
        ("distillhub", "code", *(one for run in runs for one in run["made_with"]))
    )
    rows = [(name, [str(run["made_with"].get(name, "")) for run in runs]) for name in names]
    return [("configuration", [run["configuration"][:16] for run in runs]), *rows]


def _node(project: Project, version: ModelVersion, node: dict[str, Any]) -> dict[str, Any]:
    """A box: two lines, what they say in full, and where they lead."""
    name, _, number = str(node["id"]).rpartition("@")
    match node["kind"]:
        case "dataset":
            at = [project.slug, name, int(number)]
            rows = f"{ui.grouped(node['rows'])} rows"
            mark = f"fingerprint {node['fingerprint'][:12]}" if node["fingerprint"] else ""
            lines, more = (node["id"], rows), [node["told"], rows, mark]
            url = reverse("projects:dataset_version", args=at)
        case "run":
            lines = (f"Run {node['number']}", node["name"])
            more = [node["name"], node["status"], f"configuration {node['configuration'][:12]}"]
            url = reverse("training:run_detail", args=[project.slug, node["number"]])
        case "export":
            found = catalog.find("exporters", node["format"])
            label = found["label"] if found else node["format"]
            size = ui.filesize(node["bytes"]) if node["bytes"] else node["status"]
            lines, more = (label, size), [label, str(node["compress"] or ""), size]
            page = [project.slug, version.model.name, version.number]
            url = f"{reverse('training:model_version', args=page)}#exports-section"
        case "monitor":
            asked = f"retraining {node['retraining']}" if node["retraining"] else "live rows"
            lines, more = (node["name"], asked), ["monitor", asked]
            url = reverse("training:monitor_list", args=[project.slug])
            if node["retraining"]:
                url = reverse("training:retraining_detail", args=[project.slug, node["retraining"]])
        case "alias":
            lines, more = (node["name"], f"of {name}"), ["alias"]
            page = [project.slug, version.model.name, version.number]
            url = f"{reverse('training:model_promotion', args=page)}?alias={node['name']}"
        case _:
            size = f"{ui.compact(node['parameters'])} weights" if node["parameters"] else ""
            said = " · ".join(part for part in (node["architecture"], size) if part)
            lines = (node["id"], said or node["told"])
            more = [node["role"], said, node["told"]]
            url = reverse("training:model_version", args=[project.slug, name, int(number)])
    return node | {
        "lines": [_short(line) for line in lines],
        "full": lines[0],
        "more": ", ".join(part for part in more if part),
        "url": url,
        "is_here": node["id"] == version.reference,
        "tone": node.get("role") or node["kind"],
    }


def _short(line: str) -> str:
    return line if len(line) <= LETTERS else f"{line[: LETTERS - 1]}…"
