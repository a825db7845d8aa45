"""Compression by the separation index: a plan of what goes, and the surgery that removes it."""

from mmlayerwise.compression.apply import apply_plan
from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.compression.plan import CompressionPlan, Cost, Savings, Step, fingerprint
from mmlayerwise.compression.report import SurgeryReport

__all__ = [
    'CompressionError',
    'CompressionPlan',
    'Cost',
    'Savings',
    'Step',
    'SurgeryReport',
    'apply_plan',
    'fingerprint',
]
