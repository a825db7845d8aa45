"""One step of learning a layer, and how well it separates."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmlayerwise.forward.errors import ForwardLearningError
from mmlayerwise.forward.layer_order import ForwardLayer
from mmlayerwise.forward.mining import MinedTriplets
from mmlayerwise.separation import Batch, measure
from mmlayerwise.separation.distributed import gather_objects, gather_rows
from mmlayerwise.separation.neighbors import DEFAULT_MEMORY
from mmlayerwise.separation.samples import Candidates, Extracted, Sampler, select_balanced
from mmlayerwise.separation.taps import Tap, Taps, undisturbed

Forward = Callable[[nn.Module, Any], Any]
Miner = Callable[[Tensor, Tensor, Tensor | None], MinedTriplets]


class LayerLearner(nn.Module):
    """A model up to one of its layers, with the triplet loss on that layer's output.

    The forward pass ends behind the layer: what comes later does not run.

    Args:
        model: The model.
        layer: The layer.
        sampler: What a sample is.
        miner: Finds the triplets of a batch.
        loss: Takes them; its ``embed`` gives the space in which they are sought.
        forward: Runs the model on the inputs of a batch.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: ForwardLayer,
        sampler: Sampler,
        miner: Miner,
        loss: nn.Module,
        forward: Forward,
    ) -> None:
        super().__init__()
        if not (loss.bounded or loss.normalize or layer.normalized):
            raise ForwardLearningError(
                f'{type(loss).__name__} on layer {layer.name!r}, which has no normalisation, would '
                'fall without end by the features growing alone. Take HingeTripletLoss or '
                'SoftTripletLoss, set normalize=True, or give the layer a batch normalisation.'
            )
        self.model = model
        self.layer = layer
        self.sampler = sampler
        self.miner = miner
        self.loss = loss
        self.run_model = forward

    def forward(self, batch: Batch, seed: int) -> tuple[Tensor, Tensor]:
        """Loss of one batch.

        Args:
            batch: The batch.
            seed: Of the choice of boxes or pixels.

        Returns:
            The loss, and float64 of shape (5,) to be summed over the processes: loss times number
            of triplets, number of triplets, number of separated anchors, relative distance of
            neighbours times number of triplets, and 1 if the loss or a feature is NaN or infinite.
        """
        candidates = [self.sampler.candidates(truth, seed) for truth in batch.truths]
        output = read_layer(self.model, self.layer.output.tap, self.run_model, batch)
        with torch.autocast(output.device.type, enabled=False):
            samples = _extract(self.sampler, output, candidates, batch.input_size)
            features = output.float().flatten()[:0] if samples is None else samples.features
            # With nothing to compare, a zero that still belongs to the graph.
            loss = features.sum() * 0
            found, separated, distance = 0, 0.0, 0.0
            if samples is not None:
                triplets = self._mine(samples)
                found, separated = len(triplets), triplets.separation_index
                distance = triplets.relative_distance
                loss = loss + self.loss(triplets.anchors, triplets.friends, triplets.enemies)
        broken = float(not bool(torch.isfinite(loss) & features.isfinite().all()))
        sums = [loss.item() * found, found, separated * found, distance * found, broken]
        sums = [0.0, found, 0.0, 0.0, broken] if broken else sums
        return loss, torch.tensor(sums, dtype=torch.float64, device=output.device)

    def _mine(self, samples: Extracted) -> MinedTriplets:
        samples, device = _distinct(samples), samples.features.device
        images = samples.images.to(device) if self.sampler.exclude_same_image else None
        return self.miner(self.loss.embed(samples.features), samples.labels.to(device), images)


def layer_separation_index(
    model: nn.Module,
    batches: Iterable[Batch],
    layer: ForwardLayer,
    sampler: Sampler,
    forward: Forward,
    *,
    num_samples: int,
    seed: int = 0,
    max_memory: int = DEFAULT_MEMORY,
    backend: str = 'exact',
) -> float:
    """Separation index of a layer; with several processes of all their samples, the same on all.

    Args:
        model: The model; it is left as it was found.
        batches: This process's share of the data.
        layer: The layer.
        sampler: What a sample is.
        forward: Runs the model on the inputs of a batch.
        num_samples: At most so many, balanced over the classes.
        seed: Of the choice of samples.
        max_memory: Bytes for the neighbour search.
        backend: Which implementation searches.

    Raises:
        SeparationError: For features that cannot be measured.
        ForwardLearningError: If there are no samples or only one class.
    """
    parts, priorities = [], []
    with undisturbed(model, seed):
        for batch in batches:
            candidates = [sampler.candidates(truth, seed) for truth in batch.truths]
            output = read_layer(model, layer.output.tap, forward, batch)
            found = _extract(sampler, output, candidates, batch.input_size)
            if found is None:
                continue
            found.features = found.features.cpu()
            parts.append(found)
            known = dict(
                zip(
                    torch.cat([one.ids for one in candidates]).tolist(),
                    torch.cat([one.priorities for one in candidates]).tolist(),
                    strict=True,
                )
            )
            priorities += [known[number] for number in found.ids.tolist()]

    def rows(name: str) -> Tensor | None:
        return gather_rows(torch.cat([getattr(part, name) for part in parts]) if parts else None)

    features, labels, ids = rows('features'), rows('labels'), rows('ids')
    order = gather_rows(torch.tensor(priorities, dtype=torch.float64) if parts else None)
    with_cells = any(gather_objects(bool(parts) and parts[0].cells is not None))
    cells = rows('cells') if with_cells else None
    classes = 0 if labels is None else len(labels.unique())
    if classes < 2:
        raise ForwardLearningError(
            f'The training data give {0 if labels is None else len(labels)} {sampler.kind} samples '
            f'of {classes} class(es) at layer {layer.name!r}; learning to separate needs two '
            'classes at least. Check the annotations and samples.'
        )
    by_id = ids.argsort(stable=True)
    kept = by_id[select_balanced(labels[by_id], order[by_id], num_samples)]
    chosen = _distinct(
        Extracted(features[kept], labels[kept], ids[kept], None if cells is None else cells[kept])
    )
    device = next(model.parameters()).device
    found = measure(
        chosen.features.to(device),
        chosen.labels.to(device),
        groups=chosen.images.to(device) if sampler.exclude_same_image else None,
        max_memory=max_memory,
        backend=backend,
        layer=layer.name,
    )
    return gather_objects(found.index)[0]


def read_layer(model: nn.Module, tap: Tap, forward: Forward, batch: Batch) -> Tensor:
    """Read the output of a layer; the pass ends behind it.

    Args:
        model: The model.
        tap: Where the layer's output is.
        forward: Runs the model on the inputs of a batch.
        batch: The batch.

    Returns:
        The output.
    """
    outputs: list[Tensor] = []
    taps = Taps(model, [tap], lambda _, output: outputs.append(output), stop_early=True)
    with taps:
        taps.run(lambda: forward(model, batch.inputs))
    return outputs[0]


def _extract(
    sampler: Sampler, output: Tensor, candidates: Sequence[Candidates], size: tuple[int, int]
) -> Extracted | None:
    """The samples of a batch; None where there are none."""
    if not any(len(image.labels) for image in candidates):
        return None
    return sampler.extract(output, candidates, size)


def _distinct(samples: Extracted) -> Extracted:
    """Each place of the layer once."""
    if samples.cells is None:
        return samples
    values, inverse = samples.cells.unique(return_inverse=True)
    rows = torch.arange(len(inverse))
    first = torch.full((len(values),), len(inverse)).scatter_reduce(0, inverse, rows, 'amin')
    first = first.sort().values
    features = samples.features[first.to(samples.features.device)]
    return Extracted(features, samples.labels[first], samples.ids[first])
