"""A hook that keeps what the tables and pictures are made of."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook

from mmlayerwise.utils.files import write_atomically

# A checkpoint keeps the time of training under this name.
KEY = 'reproduction_seconds'
# In the work directory, for a run that is interrupted.
FILE = 'record.json'


class RunRecorder(Hook):
    """Record accuracy, loss, separation and training time of every epoch.

    Time is what training takes, what a method does before the first iteration included, but not
    validation and what is measured in it. A resumed run goes on with the record of its first part.

    Args:
        report: Called after every iteration, with the share of the training that is done.

    Attributes:
        epochs: For each validated epoch its number, mean loss of the iterations since the one
            before (those of layers that learn forward among them), seconds of training up to it,
            metrics, and separation index by layer.
    """

    # Starts the clock before, and reads metrics after, all others have added theirs.
    priority = 'VERY_HIGH'

    def __init__(self, report: Callable[[float], None] | None = None) -> None:
        self.report = report
        self.epochs: list[dict[str, Any]] = []
        self._losses: list[float] = []
        self._spent = {'wall': 0.0, 'processor': 0.0}
        self._started: dict[str, float] | None = None

    @property
    def seconds(self) -> dict[str, float]:
        """Time of training up to now, by the clock on the wall and of the processor."""
        if self._started is None:
            return dict(self._spent)
        now = _now()
        return {key: spent + now[key] - self._started[key] for key, spent in self._spent.items()}

    def before_train(self, runner: Any) -> None:
        """Start the clock; take up the record of an interrupted run."""
        path = Path(runner.work_dir, FILE)
        if runner.iter > 0 and path.is_file():
            entries = json.loads(path.read_text(encoding='utf-8'))
            self.epochs = [entry for entry in entries if entry['epoch'] <= runner.epoch]
        self._started = _now()

    def after_train(self, runner: Any) -> None:
        """Stop the clock."""
        self._pause()

    def before_val(self, runner: Any) -> None:
        """Validation isn't counted."""
        self._pause()

    def after_val(self, runner: Any) -> None:
        """Keep what the hooks before have added to the metrics, and go on counting."""
        self.epochs[-1] = _split(self.epochs[-1])
        with write_atomically(Path(runner.work_dir, FILE)) as path:
            path.write_text(json.dumps(self.epochs), encoding='utf-8')
        self._started = _now()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Keep the loss and tell the progress."""
        loss = (outputs or {}).get('loss')
        if loss is not None:
            self._losses.append(loss.item())
        if self.report is not None:
            self.report((runner.iter + 1) / max(runner.max_iters, 1))

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Keep the metrics of the epoch; those of later hooks are added to the same dict."""
        losses, self._losses = self._losses, []
        entry = {
            'epoch': runner.epoch,
            'loss': math.fsum(losses) / len(losses) if losses else None,
            'seconds': self.seconds,
            'metrics': metrics or {},
        }
        self.epochs = [one for one in self.epochs if one['epoch'] < runner.epoch] + [entry]

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Keep the time with the weights."""
        checkpoint[KEY] = self.seconds

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Go on with the time of an interrupted run."""
        self._spent.update(checkpoint.get(KEY, {}))

    def _pause(self) -> None:
        self._spent = self.seconds
        self._started = None


def _split(entry: dict[str, Any]) -> dict[str, Any]:
    """Take the separation index by layer out of the metrics."""
    prefix = 'separation/'
    metrics = {key: float(value) for key, value in entry['metrics'].items()}
    indices = {key: metrics.pop(key) for key in list(metrics) if key.startswith(prefix)}
    separation = {key.removeprefix(prefix): value for key, value in indices.items()}
    return {**entry, 'metrics': metrics, 'separation': separation}


def _now() -> dict[str, float]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return {'wall': time.perf_counter(), 'processor': time.process_time()}
