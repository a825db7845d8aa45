"""Seeing single samples while a meter measures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from mmlayerwise.separation.samples import Candidates, Extracted

if TYPE_CHECKING:
    from mmlayerwise.separation.indices import Separation
    from mmlayerwise.separation.layers import Layer


class MeterObserver:
    """Base of what looks on while a :class:`SeparationMeter` measures; override what is needed.

    With ``torch.distributed`` every process has an observer of its own: each sees the samples of
    its own data and the layers that it analyses.
    """

    def on_selection(self, candidates: Sequence[Candidates], kept: Tensor) -> None:
        """Take notice of which samples are compared, once per measurement and before the layers.

        Args:
            candidates: What the images of this process offered.
            kept: int64 of shape (num_kept,): ids of the samples to compare, of all processes.
        """

    def on_layer(self, layer: 'Layer', samples: Extracted, found: 'Separation') -> None:
        """Take notice of a measured layer; one that could not be measured is not shown.

        Args:
            layer: The layer.
            samples: Its vectors, ordered by the samples' ids, on the device of the model.
            found: Each sample's nearest neighbours and whether they are friends.
        """
