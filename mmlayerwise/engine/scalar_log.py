"""What mmengine's runner has logged."""

import json
from pathlib import Path
from typing import Any

from mmengine.runner import Runner


def read_scalars(runner: Runner) -> list[dict[str, Any]]:
    """Read the scalar log of a run.

    Args:
        runner: That has trained; its local backend wrote ``vis_data/scalars.json``.

    Returns:
        The lines in order: those of training have a ``loss``, those of validation the metrics, all
        a ``step``.
    """
    path = Path(runner.work_dir, runner.timestamp, 'vis_data', 'scalars.json')
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


def curve_of(
    lines: list[dict[str, Any]], key: str, name: str | None = None
) -> list[dict[str, float]]:
    """Pick one value over the steps.

    Args:
        lines: As :func:`read_scalars` gives them.
        key: Of the value, such as ``loss`` or a metric.
        name: What it is called in the answer, where not by its key.

    Returns:
        A ``step`` and the value of every line that has it.
    """
    return [{'step': one['step'], name or key: one[key]} for one in lines if key in one]
