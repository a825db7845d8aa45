"""The interactive report of a measurement: collecting what it shows, and the page."""

from mmlayerwise.visualization.report.collect import collect_report, load_run
from mmlayerwise.visualization.report.data import (
    LayerCost,
    LayerView,
    ModelCost,
    Pair,
    ReportData,
    Sample,
)
from mmlayerwise.visualization.report.evidence import EvidenceObserver
from mmlayerwise.visualization.report.page import check_plotly, render_report, write_report

__all__ = [
    'EvidenceObserver',
    'LayerCost',
    'LayerView',
    'ModelCost',
    'Pair',
    'ReportData',
    'Sample',
    'check_plotly',
    'collect_report',
    'load_run',
    'render_report',
    'write_report',
]
