"""A new fully connected part for the units that stay, chosen by held-out separation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.compression.flops import count_parameters
from mmlayerwise.separation.neighbors import nearest_neighbors

WIDTHS = (0, 64, 128, 256, 512)


@dataclass
class HeadCandidate:
    """One trained fully connected part.

    Attributes:
        hidden: Width of the hidden layer; 0: none.
        accuracy: Share of held-out samples that it classifies rightly.
        center: Share of held-out samples whose last hidden vector (whose logits, where there is no
            hidden layer) lies nearest to the mean of their class among the training samples.
        parameters: Number of parameters.
        state: Its weights: ``hidden.weight``, ``hidden.bias``, ``fc.weight``, ``fc.bias``.
    """

    hidden: int
    accuracy: float
    center: float
    parameters: int
    state: dict[str, Tensor]


class FullyConnected(nn.Module):
    """Dropout, maybe a hidden layer with ReLU, logits.

    Args:
        in_features: Length of the vectors.
        hidden: Width of the hidden layer; 0: none.
        num_classes: Number of logits.
        dropout: Probability of dropping a value in training.
    """

    def __init__(self, in_features: int, hidden: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(in_features, hidden) if hidden else None
        self.fc = nn.Linear(hidden or in_features, num_classes)

    def last_hidden(self, vectors: Tensor) -> Tensor:
        """What the logits are computed from."""
        return vectors if self.hidden is None else self.hidden(vectors).relu()

    def forward(self, vectors: Tensor) -> Tensor:
        """Logits of shape (num_samples, num_classes)."""
        return self.fc(self.dropout(self.last_hidden(vectors)))


@dataclass(frozen=True)
class HeadSearch:
    """Trains fully connected parts of growing width and takes the smallest that is good enough.

    Args:
        widths: Hidden widths to try, ascending; 0 is the linear one.
        tolerance: A part is good enough if its held-out measure is within this of the best one.
        measure: ``'center'`` (the held-out centre-based separation index) or ``'accuracy'``.
        held_out: Share of the samples that are held out for the choice.
        epochs: Passes over the training samples.
        learning_rate: Of Adam.
        dropout: Probability of dropping a value in training.
        batch_size: Samples a step.
        seed: Of the split, the initial weights and the order.
    """

    widths: Sequence[int] = WIDTHS
    tolerance: float = 0.005
    measure: str = 'center'
    held_out: float = 0.2
    epochs: int = 20
    learning_rate: float = 1e-3
    dropout: float = 0.2
    batch_size: int = 64
    seed: int = 0

    def run(
        self,
        vectors: Tensor,
        labels: Tensor,
        num_classes: int,
        max_parameters: int | None = None,
    ) -> list[HeadCandidate]:
        """Train all candidates.

        Args:
            vectors: float of shape (num_samples, in_features).
            labels: int64 of shape (num_samples,), in ``[0, num_classes)``.
            num_classes: Number of logits.
            max_parameters: Wider parts that have more are not tried; the first of the widths always
                is.

        Returns:
            The candidates in the order of their widths.

        Raises:
            CompressionError: If there are too few samples to hold some out.
        """
        if len(vectors) < 10:
            raise CompressionError(
                f'A new fully connected part needs at least 10 samples to learn from, got '
                f'{len(vectors)}; plan on more images'
            )
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(vectors), generator=generator).to(vectors.device)
        count = max(2, round(self.held_out * len(vectors)))
        held, used = order[:count], order[count:]
        found = []
        for width in self._widths_within(max_parameters, vectors.shape[1], num_classes):
            part = self._train(vectors[used], labels[used], width, num_classes)
            found.append(self._judge(part, vectors, labels, used, held))
        return found

    def choose(self, candidates: Sequence[HeadCandidate]) -> HeadCandidate:
        """The smallest candidate whose measure is within the tolerance of the best."""
        best = max(getattr(one, self.measure) for one in candidates)
        return next(
            one for one in candidates if getattr(one, self.measure) >= best - self.tolerance - 1e-9
        )

    def _widths_within(
        self, max_parameters: int | None, in_features: int, num_classes: int
    ) -> list[int]:
        first, *wider = self.widths
        if max_parameters is None:
            return [first, *wider]
        sizes = {width: _size(in_features, width, num_classes) for width in wider}
        return [first, *[width for width in wider if sizes[width] <= max_parameters]]

    def _train(
        self, vectors: Tensor, labels: Tensor, width: int, num_classes: int
    ) -> FullyConnected:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(self.seed)
            part = FullyConnected(vectors.shape[1], width, num_classes, self.dropout)
            part.to(vectors.device)
            optimizer = torch.optim.Adam(part.parameters(), lr=self.learning_rate)
            for _ in range(self.epochs):
                order = torch.randperm(len(vectors)).to(vectors.device)
                for rows in order.split(self.batch_size):
                    loss = F.cross_entropy(part(vectors[rows]), labels[rows])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
        return part.eval()

    def _judge(
        self, part: FullyConnected, vectors: Tensor, labels: Tensor, used: Tensor, held: Tensor
    ) -> HeadCandidate:
        with torch.no_grad():
            logits = part(vectors)
            hidden = logits if part.hidden is None else part.last_hidden(vectors)
        accuracy = (logits[held].argmax(1) == labels[held]).double().mean()
        return HeadCandidate(
            hidden=0 if part.hidden is None else part.hidden.out_features,
            accuracy=float(accuracy),
            center=held_out_center_index(hidden, labels, used, held),
            parameters=count_parameters(part),
            state={name: value.detach().cpu() for name, value in part.state_dict().items()},
        )


def _size(in_features: int, hidden: int, num_classes: int) -> int:
    with torch.device('meta'):
        part = FullyConnected(in_features, hidden, num_classes, dropout=0.0)
    return count_parameters(part)


def held_out_center_index(vectors: Tensor, labels: Tensor, used: Tensor, held: Tensor) -> float:
    """Share of held-out samples that lie nearest to their class's mean among the others.

    Args:
        vectors: float of shape (num_samples, dimension).
        labels: int64 of shape (num_samples,).
        used: Rows whose class means count.
        held: Rows that are judged.
    """
    classes, position = labels[used].unique(return_inverse=True)
    means = vectors.new_zeros((len(classes), vectors.shape[1]), dtype=torch.float64)
    means.index_add_(0, position, vectors[used].double())
    means /= position.bincount()[:, None]
    nearest = nearest_neighbors(means, queries=vectors[held]).indices[:, 0]
    return float((classes[nearest] == labels[held]).double().mean())
