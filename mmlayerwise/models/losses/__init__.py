"""Losses."""

from mmlayerwise.models.losses.triplet_loss import (
    HingeTripletLoss,
    RawTripletLoss,
    SoftTripletLoss,
    TripletLoss,
)

__all__ = ['HingeTripletLoss', 'RawTripletLoss', 'SoftTripletLoss', 'TripletLoss']
