"""Quasi least squares: learning the first convolution before backpropagation starts.

Karimi and Kalhor, *Learning Enhancement of CNNs via Separation Index Maximizing at the First
Convolutional Layer*, arXiv 2201.05217, start the filters at the eigenvectors of the patches'
autocorrelation and then repeat: find the nearest friend and enemy of every example in the features
of the layer, and update all filters by a "quasi least square error technique" that lowers the
triplet loss. How the update is computed is stated in none of the published sources. The normal
matrices, the steps, the gauge and the rule of acceptance here are this project's.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlayerwise.forward.eigen_initialization import EigenFilters, gauge
from mmlayerwise.forward.errors import ForwardLearningError
from mmlayerwise.forward.normal_matrices import normal_matrices
from mmlayerwise.forward.patches import Convolution, ConvolutionPatches
from mmlayerwise.forward.steps import STEPS, step_direction
from mmlayerwise.forward.triplets import Triplets, find_triplets, usable_samples
from mmlayerwise.separation.neighbors import DEFAULT_MEMORY

STEP_SIZES = tuple(2.0**power for power in range(2, -4, -1))  # 4, 2, ..., 1/8
# Filters that fewer positions pass are dead: they have no gradient to come back by.
LEAST_ACTIVITY = 1e-3


@dataclass
class QLSEpoch:
    """What one epoch did.

    Attributes:
        epoch: 0 for the start, the eigenvectors.
        loss: Triplet loss J after the epoch, its new neighbours and masks included.
        margin: Mean of (|f - enemy| - |f - friend|) / (|f - enemy| + |f - friend|).
        separation_index: Separation index after the epoch, of the samples learned from.
        step_size: mu; None if there was no step.
        frozen_loss: J before and after the step with the masks and triplets before it.
        replaced: How many dead filters were replaced before the step.
    """

    epoch: int
    loss: float
    margin: float
    separation_index: float
    step_size: float | None = None
    frozen_loss: tuple[float, float] | None = None
    replaced: int = 0


@dataclass
class QLSResult:
    """What was learned.

    Attributes:
        history: One entry an epoch, the start first.
        best_epoch: The epoch whose filters the layer has now.
        num_samples: How many samples were learned from.
        rank: Rank of the patches of every group of channels.
        scale: Common factor that brought the filters to the initial size of their outputs.
    """

    history: list[QLSEpoch] = field(default_factory=list)
    best_epoch: int = 0
    num_samples: int = 0
    rank: list[int] = field(default_factory=list)
    scale: float = 1.0

    def to_dict(self) -> dict:
        """Plain numbers, lists and dicts, ready for JSON."""
        return asdict(self)


@dataclass
class _State:
    """Filters with everything that depends on them."""

    filters: Tensor
    triplets: Triplets
    activity: Tensor
    loss: float
    margin: float


class QuasiLeastSquares:
    """Learns a convolution from labelled samples of its input.

    Args:
        epochs: At most so many steps; learning ends before if no step size raises the margin.
        step: ``'mm'``, ``'ls'`` or ``'gradient'``, see
            :func:`~mmlayerwise.forward.steps.step_direction`; None stops at the eigenvectors.
        negatives: Whether every eigenvector is followed by its negative; without, and with
            ``step=None``, the filters are a plain principal component analysis.
        pooling: Features are averaged over squares of this size for the neighbour search and the
            separation index; 1 compares whole feature maps. J and margin are always of whole maps.
        max_positions: Output positions of a sample to learn from, see
            :class:`~mmlayerwise.forward.patches.ConvolutionPatches`.
        seed: Of the random filters that are needed once the eigenvectors are used up.
        max_memory: Bytes for the neighbour search.
        backend: Which implementation searches for neighbours.

    Raises:
        ForwardLearningError: If an argument is out of range.
    """

    def __init__(
        self,
        epochs: int = 8,
        step: str | None = 'mm',
        *,
        negatives: bool = True,
        pooling: int = 2,
        max_positions: int = 1024,
        seed: int = 0,
        max_memory: int = DEFAULT_MEMORY,
        backend: str = 'exact',
    ) -> None:
        if step not in (*STEPS, None):
            raise ForwardLearningError(
                f'step must be one of {", ".join(map(repr, STEPS))} or None, got {step!r}.'
            )
        for name, value, least in (
            ('epochs', epochs, 0),
            ('pooling', pooling, 1),
            ('max_positions', max_positions, 1),
        ):
            if not isinstance(value, int) or value < least:
                raise ForwardLearningError(
                    f'{name} must be a whole number of at least {least}, got {value!r}.'
                )
        self.epochs = epochs if step else 0
        self.step = step
        self.negatives = negatives
        self.pooling = pooling
        self.max_positions = max_positions
        self.seed = seed
        self.search = dict(max_memory=max_memory, backend=backend)

    @torch.no_grad()
    def fit(
        self,
        layer: Convolution,
        samples: Tensor,
        labels: Tensor,
        sources: Tensor | None = None,
        *,
        batch_norm: bool = False,
        report: Callable[[QLSEpoch], None] | None = None,
    ) -> QLSResult:
        """Learn the layer; its weight and bias are changed in place.

        The filters with the best separation index are kept, those of the start among them. A common
        factor then gives the rectified outputs the root mean square that they have with the
        parameters found in the layer, so that a learning rate chosen for those stays right.

        Args:
            layer: The convolution, with its initial parameters.
            samples: Inputs of the layer, float of shape (N, C, H, W), or (N, C, L) for a
                ``Conv1d``, on any device.
            labels: int64 of shape (N,).
            sources: int64 of shape (N,): samples of one source (crops of one image) are no
                neighbours of each other.
            batch_norm: Whether a batch normalisation follows. It isn't changed; its effect at the
                start of training (weight 1, bias 0) is that of the gauge: outputs of variance 1.
            report: Called after every epoch.

        Returns:
            What happened.

        Raises:
            ForwardLearningError: If layer, samples or labels cannot be learned from.
        """
        if labels.shape != samples.shape[:1]:
            raise ForwardLearningError(
                f'{len(samples)} samples need one label each, got {tuple(labels.shape)}.'
            )
        labels = labels.to(samples.device)
        sources = None if sources is None else sources.to(samples.device)
        rows = usable_samples(labels, sources)
        if len(rows) < len(labels):
            samples, labels = samples[rows], labels[rows]
            sources = None if sources is None else sources[rows]
        patches = ConvolutionPatches(
            layer, samples, batch_norm=batch_norm, max_positions=self.max_positions
        )
        run = _Run(self, patches, labels, sources, report)
        best = run.learn()
        before = patches.filters_of(layer.weight, layer.bias)
        wanted, present = (_root_mean_square(patches, one) for one in (before, best))
        if 0 < wanted < float('inf') and present > 0:
            run.result.scale = wanted / present
        patches.write(best * run.result.scale)
        return run.result


class _Run:
    """One fit."""

    def __init__(
        self,
        options: QuasiLeastSquares,
        patches: ConvolutionPatches,
        labels: Tensor,
        sources: Tensor | None,
        report: Callable[[QLSEpoch], None] | None,
    ) -> None:
        self.options = options
        self.patches = patches
        self.labels = labels
        self.sources = sources
        self.report = report
        self.spare = EigenFilters(patches, options.negatives, options.seed)
        self.result = QLSResult(num_samples=len(labels), rank=self.spare.rank)

    def learn(self) -> Tensor:
        """Run all epochs; returns the filters with the best separation index."""
        state = best = self.evaluate(self.spare.initial())
        self.record(QLSEpoch(0, state.loss, state.margin, state.triplets.separation_index))
        for epoch in range(1, self.options.epochs + 1):
            state, replaced = self.replace_dead(state)
            found = self.search_step(state)
            if found is None:
                # Nothing changes any more; what was replaced may still have separated better.
                if replaced and _index(state) > _index(best):
                    best, self.result.best_epoch = state, epoch
                if replaced:
                    self.record(self.entry(epoch, state, replaced=replaced))
                break
            filters, step_size, frozen_loss = found
            state = self.evaluate(filters)
            self.record(self.entry(epoch, state, step_size, frozen_loss, replaced))
            if _index(state) > _index(best):
                best, self.result.best_epoch = state, epoch
        return best.filters

    def entry(self, epoch: int, state: _State, *step: object, replaced: int = 0) -> QLSEpoch:
        """The record of an epoch."""
        step = step or (None, None, replaced)
        return QLSEpoch(epoch, state.loss, state.margin, _index(state), *step)

    def record(self, epoch: QLSEpoch) -> None:
        """Keep the record of an epoch and tell it."""
        self.result.history.append(epoch)
        if self.report is not None:
            self.report(epoch)

    def search_step(self, state: _State) -> tuple[Tensor, float, tuple[float, float]] | None:
        """The largest step that lowers the frozen loss and raises the margin, if there is one.

        The separation index is too coarse to decide: small steps leave it as it is.
        """
        matrices = normal_matrices(self.patches, state.filters, state.triplets)
        direction = step_direction(matrices, state.filters, self.options.step)
        before = matrices.loss(state.filters)
        for step_size in STEP_SIZES:
            moved = state.filters + step_size * direction
            after = matrices.loss(moved)
            if not after < before:
                continue
            trial = self.fix_gauge(moved)
            if trial is None:
                continue
            if self.distances(trial, state.triplets)[1] > state.margin:
                return trial, step_size, (before, after)
        return None

    def fix_gauge(self, filters: Tensor) -> Tensor | None:
        """Bring the gauge of every filter back to 1, the bias along; None if one has vanished."""
        sizes = gauge(self.patches, filters)
        if not bool(((sizes > 0) & sizes.isfinite()).all()):
            return None
        return filters / sizes[..., None]

    def evaluate(self, filters: Tensor) -> _State:
        """Features, neighbours, loss and margin of filters."""
        features, activity = self.pooled_features(filters)
        triplets = find_triplets(features, self.labels, self.sources, **self.options.search)
        del features
        loss, margin = self.distances(filters, triplets)
        return _State(filters, triplets, activity, loss, margin)

    def pooled_features(self, filters: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features, shape (N, dimension), and the share of positions a filter passes."""
        patches = self.patches
        pooling = tuple(min(self.options.pooling, side) for side in patches.grid)
        active = torch.zeros(patches.layer.out_channels, device=patches.device)
        parts = []
        for numbers in self.feature_chunks(1):
            features = patches.features(filters, numbers)
            active += (features > 0).sum((1, 2))
            maps = features.transpose(0, 1).unflatten(2, patches.grid)
            parts.append(F.avg_pool2d(maps, pooling, ceil_mode=True).flatten(1))
        share = active / (len(patches.samples) * patches.num_positions)
        return torch.cat(parts), share.view(filters.shape[:2])

    def distances(self, filters: Tensor, triplets: Triplets) -> tuple[float, float]:
        """Loss and margin of filters with given triplets."""
        patches = self.patches
        loss = margin = 0.0
        for numbers in self.feature_chunks(3):
            own = patches.features(filters, numbers)
            friend, enemy = (
                (own - patches.features(filters, role[numbers]))
                .square_()
                .sum((0, 2), dtype=torch.float64)
                for role in (triplets.friends, triplets.enemies)
            )
            loss += (friend - enemy).sum().item()
            near, far = friend.sqrt(), enemy.sqrt()
            # Three identical features have no margin to either side.
            total = (near + far).clamp(min=torch.finfo(torch.float64).tiny)
            margin += ((far - near) / total).sum().item()
        return loss, margin / len(self.labels)

    def feature_chunks(self, copies: int) -> object:
        """Sample numbers in chunks for ``copies`` features and patches at a time."""
        patches = self.patches
        width = patches.layer.out_channels + patches.groups * patches.dimension
        return patches.chunks(4 * copies * width)

    def replace_dead(self, state: _State) -> tuple[_State, int]:
        """Replace filters that hardly any position passes by the next of the start's kind."""
        dead = (state.activity < LEAST_ACTIVITY).nonzero().tolist()
        if not dead:
            return state, 0
        filters = state.filters.clone()
        for group, number in dead:
            filters[group, number] = self.spare.next(group)
        return self.evaluate(filters), len(dead)


def _index(state: _State) -> float:
    return state.triplets.separation_index


def _root_mean_square(patches: ConvolutionPatches, filters: Tensor) -> float:
    """Of the rectified output."""
    total = 0.0
    width = filters.shape[0] * (filters.shape[1] + patches.dimension)
    for numbers in patches.chunks(4 * width):
        total += patches.features(filters, numbers).square_().sum(dtype=torch.float64).item()
    count = len(patches.samples) * patches.num_positions * patches.layer.out_channels
    return (total / count) ** 0.5
