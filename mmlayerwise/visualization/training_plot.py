"""The picture of a training run: loss on the left, index per layer on the right."""

import os
from collections.abc import Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.record import SeparationRecord
from mmlayerwise.utils.files import write_atomically
from mmlayerwise.visualization.separation_plot import figure_size, plot_separation

_LOSS_WIDTH = 4.6


def draw_training(
    training: Sequence[dict[str, Any]],
    record: SeparationRecord,
    path: str | os.PathLike,
    title: str | None = None,
) -> None:
    """Draw the loss and the separation of a run and write the picture atomically.

    Args:
        training: One dict with ``step`` and ``loss`` for each logged training iteration.
        record: The run's separation record, with at least one measurement.
        path: The picture; the suffix says the format.
        title: Heading of the whole.

    Raises:
        SeparationError: If the record is empty.
    """
    if not record.measurements:
        raise SeparationError('There is no measurement to draw.')
    width, height = figure_size(record.layers())
    figure = Figure(figsize=(width + _LOSS_WIDTH, height + 0.4), layout='constrained', dpi=130)
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, x=0.01, ha='left')
    left, right = figure.subfigures(1, 2, width_ratios=(_LOSS_WIDTH, width))
    axes = left.add_subplot()
    axes.plot([one['step'] for one in training], [one['loss'] for one in training], color='#31688e')
    axes.set_xlabel('iteration')
    axes.set_ylabel('training loss')
    axes.set_ylim(bottom=0)
    axes.grid(color='0.9', linewidth=0.7)
    axes.spines[['top', 'right']].set_visible(False)
    plot_separation(right, right.add_subplot(), record)
    with write_atomically(path) as temporary:
        figure.savefig(temporary)
