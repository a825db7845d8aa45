"""Which samples a layer finds hard, and which look mislabelled."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.indices import Separation

# Ways to order samples, the most conspicuous first.
RANKINGS = ('mislabelled', 'soft', 'data_score')


@dataclass(frozen=True)
class SampleScores:
    """What each sample's nearest neighbours say about it.

    Attributes:
        soft: float64 of shape (num_samples,): share of friends among the neighbours.
        anti: Bool of shape (num_samples,): whether none of the neighbours is a friend.
        data_score: int64 of shape (num_samples,): how many of the nearest neighbours in a row are
            friends if the first one is, else minus how many in a row are not.
        suggested: int64 of shape (num_samples,): most frequent class among the neighbours that are
            not friends, that of the nearest among equals; the own class where all are friends.
        suspicion: float64 of shape (num_samples,) in [-1, 1]: share of neighbours of the suggested
            class less the share of friends. It is 1 where all neighbours agree on another class.
        distance: float64 of shape (num_samples,): to the nearest neighbour.
    """

    soft: Tensor
    anti: Tensor
    data_score: Tensor
    suggested: Tensor
    suspicion: Tensor
    distance: Tensor


def score_samples(found: Separation) -> SampleScores:
    """Score every sample by its ``found.order`` nearest neighbours.

    Soft and anti index and data score are those of Kalhor et al. (arXiv 1906.05156) before the mean
    over the samples; the suspicion is ours: neighbours that contradict each other mark a hard
    sample, neighbours that agree on another class a mislabelled one.

    Args:
        found: A measurement; an order of about 10 makes good votes.
    """
    labels, friends = found.labels, found.friends
    order = found.order
    neighbor_labels = labels[found.neighbors.indices]
    run = (friends == friends[:, :1]).long().cumprod(1).sum(1)
    soft = friends.double().mean(1)
    votes = torch.stack([(neighbor_labels == one[:, None]).sum(1) for one in neighbor_labels.T], 1)
    # Among equals the nearer neighbour wins; friends never do.
    strength = votes * order - torch.arange(order, device=votes.device)
    strength = strength.masked_fill(friends, -1)
    best = strength.argmax(1, keepdim=True)
    # Where all are friends, the label found is the own one.
    suggested = neighbor_labels.gather(1, best)[:, 0]
    against = votes.gather(1, best)[:, 0].masked_fill(friends.all(1), 0)
    return SampleScores(
        soft=soft,
        anti=~friends.any(1),
        data_score=torch.where(friends[:, 0], run, -run),
        suggested=suggested,
        suspicion=against.double() / order - soft,
        distance=found.neighbors.distances[:, 0],
    )


def rank_samples(scores: SampleScores, by: str = 'mislabelled') -> Tensor:
    """Order samples, the most conspicuous first.

    Args:
        scores: Of all samples.
        by: ``'mislabelled'`` (highest suspicion), ``'soft'`` (lowest soft index: hard samples) or
            ``'data_score'`` (lowest). Equals are ordered by data score, then by the distance to
            the nearest neighbour, then by row.

    Returns:
        int64 row numbers of shape (num_samples,).

    Raises:
        SeparationError: For another ``by``.
    """
    if by not in RANKINGS:
        raise SeparationError(f'Samples are ranked by {", ".join(RANKINGS)}; got {by!r}.')
    first = dict(mislabelled=-scores.suspicion, soft=scores.soft, data_score=scores.data_score)[by]
    order = scores.distance.argsort(stable=True)
    for key in (scores.data_score, first):
        order = order[key[order].argsort(stable=True)]
    return order
