"""Cards: facts that are read anew, beside what people wrote."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from projects.models import ModelVersion, Project, User
from tests import make
from tests.conftest import api_of, signed_in
from tests.training.test_run_pages import evaluated
from training.models import CardEdit, Run
from training.services import card_facts, model_cards

pytestmark = pytest.mark.django_db

CARD = "/api/v1/projects/intents/models/small/versions/1/card/"
PAGE = "/p/intents/models/small/1/card/"


@pytest.fixture
def run(project: Project, tmp_path: Path) -> Run:
    """A distillation with its control, evaluated, that left small@1."""
    file = {"name": "model.safetensors", "sha256": "0" * 64, "bytes": 4000}
    made = make.distillation(project)
    version = make.model_version(
        project,
        "small",
        source={"kind": "run", "run": made.number},
        files=[file],
        labels=["no", "yes | or `so`"],
        parameters=25_000,
        size_bytes=100_000,
    )
    evaluated(made, tmp_path)
    made.output = version
    made.summary |= {"made_with": {"python": "3.11.2", "torch": "2.13.0", "code": "ab" * 8}}
    made.save()
    return made


def facts(version: ModelVersion) -> str:
    return card_facts.markdown(card_facts.Known(version))


def test_a_card_says_what_was_measured(run: Run, vera: User) -> None:
    assert run.output is not None
    card = api_of(vera).get(CARD).json()
    for shown in (
        "## What it is for",
        "text classification",
        "2 labels: `no`",
        "`" + run.data.reference + "`",
        "f" * 64,
        "0.9 · soft_targets (temperature 4) + 0.1 · hard_labels",
        "torch 2.13.0",
        "| Accuracy | 88.0 % | 90.0 % | 85.0 % |",
        "It keeps 97.8 % of its teacher's score",
        "The student beats its control",
        "## Calibration",
        "## Size and speed",
        "trained with one seed",
    ):
        assert shown in card["facts"], shown
    assert card["text"] == ""
    assert card["edit"] == 0
    assert card["metadata"]["pipeline_tag"] == "text-classification"


def test_the_front_matter_is_what_hubs_read(run: Run, vera: User) -> None:
    answer = api_of(vera).get(f"{CARD}README.md")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="README.md"'
    content = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    assert content.startswith("---\n")
    front = yaml.safe_load(content.split("---\n")[1])
    card = ModelCard(content)
    (result, *_) = getattr(card.data, "eval_results", None) or []
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.88)
    assert result.dataset_name == run.data.reference
    assert result.dataset_revision == run.data.fingerprint
    assert front["model-index"][0]["name"] == "small"
    assert "# small@1" in card.text


def test_facts_follow_what_is_known_and_limits_say_what_is_not(run: Run, project: Project) -> None:
    assert run.output is not None
    assert "no evidence" not in facts(run.output)
    assert run.comparison is not None
    run.comparison |= {"answer": "no_evidence", "sentence": "No evidence that it helped."}
    run.save()
    assert "- There is no evidence that distilling helped." in facts(run.output)
    run.comparison |= {"answer": "hurt"}
    run.save()
    assert "- Distilling hurt" in facts(run.output)
    run.comparison = None
    run.save()
    assert "- No control was trained beside it" in facts(run.output)
    before = facts(run.output)
    make.export(run.output, run.data)
    after = facts(run.output)
    assert "| ONNX int8 | 1.1 kB | 0.15 ms (0.2 ms)" in after
    assert before != after
    other = make.model_version(project, "uploaded", source={"kind": "upload", "file": "a.zip"})
    assert "No run here trained or tested it" in facts(other)
    assert "Uploaded as `a.zip`" in facts(other)


def test_labels_and_names_are_shown_and_never_read_as_markdown(run: Run, vera: User) -> None:
    run.name = "[x](javascript:alert(1)) <script>alert(1)</script> | `"
    run.save()
    page = signed_in(vera).get(PAGE).content.decode()
    assert "<script>alert(1)" not in page
    assert 'href="javascript' not in page
    assert "yes | or `so`" in page
    assert f"<td>{run.number}, <code>" in page  # its row is still a row


def test_what_people_wrote_is_kept_with_who_wrote_it(run: Run, erin: User, alice: User) -> None:
    client = api_of(erin)
    first = client.put(CARD, {"text": "## Intended use\n\nSorting *tickets*.", "edit": 0})
    assert first.status_code == 200
    assert first.json()["edit"] == 1
    assert "Sorting *tickets*." in first.json()["markdown"]
    assert "## Results" in first.json()["markdown"]
    late = api_of(alice).put(CARD, {"text": "mine", "edit": 0})
    assert (late.status_code, late.json()["code"]) == (409, "edited")
    assert api_of(alice).put(CARD, {"text": "mine", "edit": 1}).json()["edit"] == 2
    assert api_of(alice).put(CARD, {"text": "mine", "edit": 2}).json()["edit"] == 2  # the same
    edits = client.get(f"{CARD}edits/").json()["results"]
    assert [(one["number"], one["by"], one["text"][:8]) for one in edits] == [
        (2, "alice", "mine"),
        (1, "erin", "## Inten"),
    ]


def test_only_editors_write_and_a_text_has_its_limits(run: Run, vera: User, erin: User) -> None:
    assert api_of(vera).put(CARD, {"text": "x"}).status_code == 403
    assert api_of(erin).put(CARD, {"text": "x" * 50_001}).status_code == 400
    assert api_of(erin).put(CARD, {}).status_code == 400
    assert not CardEdit.objects.exists()


def test_the_page_shows_both_and_saves(run: Run, erin: User, vera: User) -> None:
    client = signed_in(erin)
    page = client.get(PAGE).content.decode()
    assert "## Intended use" in page  # where to begin
    text = "# Use\n\n<img src=x onerror=alert(1)> **bold** [a](https://example.org)"
    answer = client.post(PAGE, {"text": text, "edit": "0"})
    assert answer.status_code == 302
    shown = signed_in(vera).get(PAGE).content.decode()
    assert "<h2>Use</h2>" in shown
    assert "<strong>bold</strong>" in shown
    assert "<img src=x" not in shown
    assert "Edit 1" in shown
    assert "Save" not in shown
    late = client.post(PAGE, {"text": "other words", "edit": "0"})
    assert late.status_code == 409
    assert "other words" in late.content.decode()
    assert model_cards.card(version=_of(run)).text == text


def _of(run: Run) -> Any:
    assert run.output is not None
    return run.output
