"""What mmlayerwise itself gives under the hook ``report_renderers``: the picture and the page.

Nothing heavy is imported before something is drawn: the plugin manager loads this module always.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mmlayerwise.plugins import hookimpl

if TYPE_CHECKING:
    from mmlayerwise.visualization.report.data import ReportData


@hookimpl
def report_renderers() -> dict[str, Callable[['ReportData', Path], Path]]:
    """Give the renderers of this package to the plugin manager."""
    return {'picture': render_picture, 'report': render_page}


def render_picture(data: 'ReportData', folder: Path) -> Path:
    """Draw the index of every layer at the last measurement, ``separation.png``."""
    from mmlayerwise.separation.record import SeparationRecord
    from mmlayerwise.visualization.separation_plot import draw_separation

    path = Path(folder) / 'separation.png'
    draw_separation(SeparationRecord(data.record.settings, data.record.measurements[-1:]), path)
    return path


def render_page(data: 'ReportData', folder: Path) -> Path:
    """Write the interactive page, ``report.html``."""
    from mmlayerwise.visualization.report.page import write_report

    path = Path(folder) / 'report.html'
    write_report(data, path)
    return path
