"""Task modules: what is neither a network nor a loss.

Those of forward learning need no mmengine where they are defined, and are registered here.
"""

from importlib.util import find_spec

from mmlayerwise.forward.mining import NearestTripletMiner
from mmlayerwise.forward.stop_rule import SeparationStopRule
from mmlayerwise.registry import TASK_UTILS

for part in (NearestTripletMiner, SeparationStopRule):
    TASK_UTILS.register_module(module=part)

__all__ = ['NearestTripletMiner', 'SeparationStopRule']

if find_spec('mmdet') is not None:
    from mmlayerwise.models.task_modules.center_cell_assigner import CenterCellAssigner
    from mmlayerwise.models.task_modules.one_to_one_assigner import OneToOneAssigner

    __all__ += ['CenterCellAssigner', 'OneToOneAssigner']
