"""The example of the engine's README runs as it stands, in a process without Django."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.engine import jobs

README = jobs.ROOT / "training" / "engine" / "README.md"


def test_the_readmes_example_distils_without_django(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    code += '\nimport sys\nassert not {"django", "celery", "plotly"} & set(sys.modules)\n'
    environment = {**os.environ, "PYTHONPATH": str(jobs.ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    accuracy, agreement = (float(one) for one in done.stdout.split()[-2:])
    assert accuracy > 0.9
    assert agreement > 0.9
    assert (tmp_path / "cards" / "student" / "output" / "model" / "model.safetensors").exists()
