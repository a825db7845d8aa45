"""One pass over the data measures all chosen layers."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from mmlayerwise.separation.batches import Batch, Forward, as_batches, settle_forward
from mmlayerwise.separation.choice import LayerPooling, choose_layers
from mmlayerwise.separation.collection import Collection
from mmlayerwise.separation.distributed import raise_everywhere, world
from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.indices import Separation
from mmlayerwise.separation.layers import Layer, LayerSelection, Trace
from mmlayerwise.separation.neighbors import DEFAULT_MEMORY
from mmlayerwise.separation.object_sizes import ObjectSizes
from mmlayerwise.separation.observers import MeterObserver
from mmlayerwise.separation.profile import LayerSeparation, SeparationProfile
from mmlayerwise.separation.reading import LayerReading
from mmlayerwise.separation.samples import Sampler, build_sampler
from mmlayerwise.separation.shares import SharedSamples
from mmlayerwise.separation.sketch import DEFAULT_DISTORTION, FEATURE_MEMORY, FeatureBudget
from mmlayerwise.separation.taps import undisturbed


class SeparationMeter:
    """Measures the layers of a model over batches, again and again.

    What is measured (taps, sampler) is settled at the first use and kept.

    Args:
        layers: ``'auto'``, ``'stages'`` or a list of names and regular expressions.
        samples: ``'auto'``, ``dict(type=...)`` or a sampler.
        pooling: How a map becomes a vector, instead of the sampler's own way: ``'flatten'``,
            ``'average'`` or the side of a grid, for all layers or by their names and regular
            expressions, ``{'backbone.*': 'average'}``; the first that fits decides.
        max_samples: At most so many samples, balanced over the classes.
        order: Neighbours for the high-order, soft and anti index; fewer where there are fewer.
        seed: Of the choice of samples.
        classes: Class names for the report.
        max_memory: Bytes for the neighbour search.
        feature_memory: Bytes that the vectors of one layer may take. Where ``max_samples`` of them
            would take more, they are sketched, see :class:`FeatureBudget`; all others are exact.
        distortion: Relative error of the distances among sketches, between 0 and 1.
        backend: Which implementation searches for neighbours, see :func:`nearest_neighbors`.
        keep_going: Note a layer that cannot be measured (NaN features, one class) in its entry's
            ``error`` instead of raising.
        observers: Who is shown the samples of every measurement.
    """

    def __init__(
        self,
        layers: LayerSelection = 'auto',
        samples: str | dict | Sampler = 'auto',
        *,
        pooling: LayerPooling | None = None,
        max_samples: int = 2000,
        order: int = 5,
        seed: int = 0,
        classes: Sequence[str] | None = None,
        max_memory: int = DEFAULT_MEMORY,
        feature_memory: int = FEATURE_MEMORY,
        distortion: float = DEFAULT_DISTORTION,
        backend: str = 'exact',
        keep_going: bool = False,
        observers: Sequence[MeterObserver] = (),
    ) -> None:
        if max_samples < 2:
            raise SeparationError(f'max_samples must be at least 2, got {max_samples}.')
        if order < 1:
            raise SeparationError(f'order must be at least 1, got {order}.')
        self.layers = layers
        self.samples = samples
        self.pooling = pooling
        self.max_samples = max_samples
        self.order = order
        self.seed = seed
        self.classes = classes
        self.max_memory = max_memory
        self.budget = FeatureBudget(max_samples, feature_memory, distortion, seed)
        self.backend = backend
        self.keep_going = keep_going
        self.observers = list(observers)
        self.sampler: Sampler | None = None
        self.samplers: dict[str, Sampler] = {}  # of each layer
        self.chosen: list[Layer] = []
        self.skipped: list[str] = []

    def prepare(self, model: nn.Module, batch: Batch, forward: Forward) -> None:
        """Settle sampler and taps from one batch.

        Raises:
            SeparationError: For unknown names, missing ground truth, named layers whose output
                holds no samples of the kind asked for, or a pooling that fits no layer.
        """
        settle_forward(forward, model, batch)
        sampler = build_sampler(self.samples, batch.truths).for_model(model)
        for truth in batch.truths:
            sampler.candidates(truth, self.seed)  # raises where the ground truth is not of its kind
        with undisturbed(model, self.seed):
            trace = Trace(model, lambda: forward(model, batch.inputs))
        choice = choose_layers(trace, self.layers, sampler, model, batch, self.pooling)
        self.sampler, self.samplers = sampler, choice.samplers
        self.chosen, self.skipped = choice.layers, choice.skipped

    def measure(
        self, model: nn.Module, batches: Iterable[Batch], forward: Forward
    ) -> SeparationProfile:
        """Measure all layers in one pass.

        With ``torch.distributed`` every process brings its own batches and keeps their vectors;
        the result is the same on all of them, and that of one process with all batches.

        Args:
            model: The model; it is left as it was found.
            batches: This process's share of the data.
            forward: Runs the model on the inputs of a batch.

        Returns:
            The profile of the chosen layers.

        Raises:
            SeparationError: On every process, for data or layers that cannot be measured.
        """
        try:
            reading, failure = self._collect(model, batches, forward), None
        except SeparationError as error:
            reading, failure = None, str(error)
        # Before anything is exchanged: a process that stopped would leave the others waiting.
        raise_everywhere(failure)
        return self.analyse(reading)

    def start_reading(self, model: nn.Module) -> LayerReading:
        """Begin to collect the layers of a prepared meter, for passes that someone else makes."""
        num_classes = None if self.classes is None else len(self.classes)
        return LayerReading(
            model,
            self.chosen,
            self.samplers,
            self.sampler,
            self.max_samples,
            self.budget,
            self.seed,
            num_classes,
        )

    def analyse(self, reading: LayerReading) -> SeparationProfile:
        """Measure what was read; a collective call.

        Raises:
            SeparationError: On every process, for layers that cannot be measured.
        """
        device = next((p.device for p in reading.model.parameters()), torch.device('cpu'))
        with torch.no_grad():
            return self._analyse(reading.collected, device)

    def _collect(
        self, model: nn.Module, batches: Iterable[Batch], forward: Forward
    ) -> LayerReading:
        reading = None
        with undisturbed(model, self.seed):
            for batch in batches:
                if reading is None:
                    settle_forward(forward, model, batch)
                    if self.sampler is None:
                        self.prepare(model, batch, forward)
                    reading = self.start_reading(model)
                if not reading.offer(batch.truths, batch.input_size):
                    continue
                with reading.taps(stop_early=True) as taps:
                    taps.run(lambda inputs=batch.inputs: forward(model, inputs))
                reading.end_batch()
        if self.sampler is None:
            raise SeparationError('There is no data to measure on: no batch came.')
        return reading or self.start_reading(model)

    def _analyse(self, collected: Collection, device: torch.device) -> SeparationProfile:
        kept = collected.reservoir.merged().ids
        if not len(kept):
            raise SeparationError(
                f'The data hold no {self.sampler.kind} with a label. Check the annotations of the '
                'validation data and that its pipeline loads them.'
            )
        for observer in self.observers:
            observer.on_selection(collected.candidates, kept)
        sizes = ObjectSizes(collected.candidates)
        rank, size = world()
        layers, errors = [], []
        for number, layer in enumerate(self.chosen):
            dimension = collected.dimensions.get(layer.name)
            samples = SharedSamples.of(collected.take(layer.name, kept), dimension, device)
            if self._lacks_samples(layer, samples):
                layers.append(self._lacking(layer, samples))
                continue
            entry, found = self._analyse_layer(layer, samples)
            layers.append(entry)
            errors += [entry.error] if entry.error else []
            if found is not None:
                entry.per_size = sizes.divide(samples.ids, found.per_sample)
            if self.observers and found is not None:
                whole = samples.whole()
                if number % size == rank:
                    for observer in self.observers:
                        observer.on_layer(layer, whole, found)
        if errors and not self.keep_going:
            raise SeparationError(errors[0])
        return SeparationProfile(layers, self.sampler.kind, self.skipped)

    def _lacks_samples(self, layer: Layer, samples: SharedSamples | None) -> bool:
        """Whether a detector assigns too few objects to a level for an index."""
        if not self.samplers[layer.name].may_lack_samples:
            return False
        return (
            samples is None or min(len(samples.labels.unique()), len(samples.images.unique())) < 2
        )

    def _lacking(self, layer: Layer, samples: SharedSamples | None) -> LayerSeparation:
        count = 0 if samples is None else len(samples)
        return LayerSeparation(
            layer.name,
            num_samples=count,
            shape=tuple(layer.shape[1:]),
            level=self.samplers[layer.name].level,
            error=f'The detector assigns {count} of the objects to this level; an index needs two '
            'classes and two images.',
        )

    def _analyse_layer(
        self, layer: Layer, samples: SharedSamples | None
    ) -> tuple[LayerSeparation, Separation | None]:
        level = self.samplers[layer.name].level
        entry = LayerSeparation(layer.name, shape=tuple(layer.shape[1:]), level=level)
        try:
            if samples is None:
                raise SeparationError(f'Layer {layer.name!r} gave no samples.')
            return entry, self._fill(entry, samples)
        except SeparationError as error:
            entry.error = str(error)
            return entry, None

    def _fill(self, entry: LayerSeparation, samples: SharedSamples) -> Separation:
        labels = samples.labels
        entry.num_samples, entry.dimension = len(samples), samples.dimension
        if samples.sketched:
            entry.sketch_dimension = samples.features.shape[1]
            entry.distortion = self.budget.distortion
        if len(labels.unique()) < 2:
            raise SeparationError(
                f'All {len(labels)} samples of layer {entry.name!r} are of one class; a separation '
                'index needs two. Measure on more images.'
            )
        groups = samples.images if self.sampler.exclude_same_image else None
        crowd = 1 if groups is None else int(groups.unique(return_counts=True)[1].max())
        # Where the largest image leaves fewer neighbours, the order shrinks.
        order = max(1, min(self.order, len(labels) - crowd))
        found = samples.measure(order, groups, self.max_memory, self.backend, entry.name)
        entry.index, entry.interval, entry.chance = found.index, found.interval(), found.chance
        entry.order = order
        entry.high_order, entry.soft, entry.anti = found.high_order(), found.soft(), found.anti()
        entry.center = samples.center_index(self.max_memory)
        entry.per_class = {
            self.class_name(label): result for label, result in found.per_class.items()
        }
        return found

    def class_name(self, label: int) -> str:
        """Name of a class in the report."""
        if self.classes is not None and 0 <= label < len(self.classes):
            return str(self.classes[label])
        return str(label)


def measure_separation(
    model: nn.Module,
    data: Iterable[Any],
    layers: LayerSelection = 'auto',
    samples: str | dict | Sampler = 'auto',
    *,
    forward: Forward | None = None,
    **options: Any,
) -> SeparationProfile:
    """Measure how well the layers of any ``nn.Module`` separate the classes.

    Args:
        model: The model; parameters, buffers, modes and random states are left as they were.
        data: Batches, or pairs of an input tensor and integer labels of shape (num_images,).
        layers: ``'auto'`` (every convolution, linear and attention block), ``'stages'``, or a list
            of module names and regular expressions.
        samples: ``'auto'``, ``dict(type='ImageSamples', ...)`` or the name of another sampler, or
            a sampler.
        forward: Runs the model on a batch's inputs; ``model(inputs)`` by default.
        **options: Of :class:`SeparationMeter`: ``pooling``, ``max_samples``, ``order``, ``seed``,
            ``classes``, ``max_memory``, ``feature_memory``, ``distortion``, ``backend``,
            ``keep_going``.

    Returns:
        The layers' indices in execution order.

    Raises:
        SeparationError: For unknown layers, missing ground truth and features that cannot be
            measured.
    """
    meter = SeparationMeter(layers, samples, **options)
    return meter.measure(model, as_batches(data), forward or _call)


def _call(model: nn.Module, inputs: Any) -> Any:
    return model(inputs)
