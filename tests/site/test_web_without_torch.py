"""A web process stays small: Django, every address and every admin page, but no torch."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

SCRIPT = """
import sys
import django
django.setup()
from django.urls import get_resolver
get_resolver().url_patterns
heavy = {"torch", "transformers", "tokenizers", "safetensors", "sklearn", "scipy", "pandas"}
print(sorted(heavy & sys.modules.keys()))
"""


def test_the_web_side_imports_neither_torch_nor_transformers(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "DISTILLHUB_HOME": str(tmp_path),
            "DJANGO_SETTINGS_MODULE": "distillhub.settings",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
