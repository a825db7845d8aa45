"""Losses.

Those that inherit from a toolbox are there where the toolbox is installed.
"""

from importlib.util import find_spec

from mmlayerwise.models.losses.binary_focal_loss import BinaryFocalLoss
from mmlayerwise.models.losses.triplet_loss import (
    HingeTripletLoss,
    RawTripletLoss,
    SoftTripletLoss,
    TripletLoss,
)

__all__ = [
    'BinaryFocalLoss',
    'HingeTripletLoss',
    'RawTripletLoss',
    'SoftTripletLoss',
    'TripletLoss',
]

if find_spec('mmdet') is not None:
    from mmlayerwise.models.losses.huber_loss import HuberLoss

    __all__ += ['HuberLoss']
