"""The example of docs/extending.md is a loss that keeps the laws."""

import re
from pathlib import Path
from typing import Any

import torch

from training.engine.losses import LOSSES

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def test_the_documented_loss_is_one_file_that_works(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(from torch.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    room: dict[str, Any] = {"__name__": "hellinger"}
    try:
        exec(compile(code, "hellinger.py", "exec"), room)
        assert "hellinger" in LOSSES
        described = LOSSES["hellinger"].described()
        assert described["needs_teacher"] is True
        loss = room["Hellinger"](None)
        one, two = torch.randn(4, 3), torch.randn(4, 3)
        labels = torch.zeros(4, dtype=torch.int64)
        assert loss.per_row(one, one, labels).abs().max() == 0.0
        apart = loss.per_row(one, two, labels)
        assert ((apart > 0) & (apart <= 1)).all()
    finally:
        LOSSES._methods.pop("hellinger", None)
