"""Ranking pre-trained networks for transfer learning by how well they separate a target data set.

Kalhor et al., *Ranking and Rejecting of Pre-Trained Deep Neural Networks in Transfer Learning based
on Separation Index*, arXiv 2012.13717: the separation index of the feature extractor's output on
the target data, highest first; networks that lie far behind the best are rejected.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.indices import wilson_interval
from mmlayerwise.separation.significance import Difference, SignificanceTest, paired_difference


@dataclass(frozen=True)
class Hits:
    """Which samples are next to a sample of their own class.

    Attributes:
        ids: int64 of shape (num_samples,), unique and ascending.
        friends: Bool of shape (num_samples,).
    """

    ids: Tensor
    friends: Tensor

    @property
    def index(self) -> float:
        """Share of samples with a friend next to them."""
        return int(self.friends.sum()) / len(self.friends)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the index."""
        return wilson_interval(self.index, len(self.friends))


@dataclass(frozen=True)
class BackboneSeparation:
    """How well one network separates the target data.

    Attributes:
        name: The network.
        layer: What was measured: its feature extractor's output.
        dimension: Length of a sample's vector.
        chance: Index that random neighbours would give.
        hits: Nearest neighbours among the samples themselves.
        cross: Nearest neighbours among training samples; None where they were not looked up.
    """

    name: str
    layer: str
    dimension: int
    chance: float
    hits: Hits
    cross: Hits | None = None


@dataclass(frozen=True)
class RankedBackbone:
    """A network and its place.

    Attributes:
        measured: The network.
        rejected: Whether its index lies below half of the best index plus chance.
        lead: Paired difference to the next network of the ranking, on the samples that both have;
            None for the last.
        leads: Whether that difference is significant.
    """

    measured: BackboneSeparation
    rejected: bool
    lead: Difference | None = None
    leads: bool = False


def rank_backbones(
    measured: Sequence[BackboneSeparation],
    by: str = 'index',
    test: SignificanceTest | None = None,
) -> tuple[list[RankedBackbone], float]:
    """Order networks by their index on the target data, the best first.

    Args:
        measured: The networks, measured on the same samples.
        by: ``'index'`` or ``'cross'``.
        test: When one network is significantly better than the next; by default a paired gain of
            more than 0.005 and of 1.64 standard errors.

    Returns:
        The ranking, and the index below which networks are rejected: 0.5 (best + chance).

    Raises:
        SeparationError: If there is no network, or no cross index to rank by.
    """
    if not measured:
        raise SeparationError('There is no network to rank.')
    if by not in ('index', 'cross'):
        raise SeparationError(f"Networks are ranked by 'index' or 'cross', got {by!r}.")
    if by == 'cross' and any(one.cross is None for one in measured):
        raise SeparationError(
            'Ranking by the cross index needs it of every network; measure with training data.'
        )

    test = test or SignificanceTest()

    def hits_of(one: BackboneSeparation) -> Hits:
        return one.hits if by == 'index' else one.cross

    order = sorted(measured, key=lambda one: -hits_of(one).index)
    threshold = 0.5 * (hits_of(order[0]).index + order[0].chance)
    ranking = []
    for one, following in zip(order, [*order[1:], None], strict=True):
        lead = None
        if following is not None:
            mine, other = hits_of(one), hits_of(following)
            lead = paired_difference(other.friends, mine.friends, other.ids, mine.ids)
        ranking.append(
            RankedBackbone(
                one,
                rejected=hits_of(one).index < threshold,
                lead=lead,
                leads=lead is not None and test.rises(lead),
            )
        )
    return ranking, threshold
