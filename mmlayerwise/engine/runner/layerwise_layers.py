"""The layers of a run that are learned forward, with the data they are learned and measured on."""

from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from mmlayerwise.engine.runner.layerwise_data import SharedTrainingSamples
from mmlayerwise.engine.runner.layerwise_options import check_number_of_samples, first_layers
from mmlayerwise.engine.separation import InferenceForward
from mmlayerwise.forward.batch_statistics import estimate_batch_statistics
from mmlayerwise.forward.layer_learner import LayerLearner, Miner, layer_separation_index
from mmlayerwise.forward.layer_order import ForwardLayer, find_layers
from mmlayerwise.separation import undisturbed
from mmlayerwise.separation.distributed import gather_objects
from mmlayerwise.separation.layers import LayerSelection
from mmlayerwise.separation.samples import ImageSamples, build_sampler


class LayersToLearn:
    """The layers to learn forward, found by one pass through the model.

    Args:
        model: The model.
        dataloader: The training data.
        number: How many layers, or ``'all'``.
        selection: Which layers there are, as for
            :func:`~mmlayerwise.forward.layer_order.find_layers`.
        samples: What a sample is: ``'auto'`` or ``dict(type=...)``.
        num_samples: The separation index is measured on at most so many.
        seed: Of their choice.
        search: ``max_memory`` and ``backend`` of the neighbour search.

    Attributes:
        layers: The layers.
        skipped: Names of those that cannot be learned by themselves.
        are_all: Whether no further layer could be learned forward.
        of_whole_inputs: Whether a sample is a whole image or text, so that batches can be balanced.
        kind: Name of the kind of sample.
        data: The training samples that are measured.

    Raises:
        ForwardLearningError: If there are too few layers or samples.
    """

    def __init__(
        self,
        model: nn.Module,
        dataloader: DataLoader,
        number: int | str,
        selection: LayerSelection,
        samples: str | dict,
        num_samples: int,
        seed: int,
        search: dict[str, Any],
    ) -> None:
        self.num_samples, self.seed, self.search = num_samples, seed, search
        self.run_model = InferenceForward()
        self.data = SharedTrainingSamples.from_dataloader(dataloader, seed)
        with undisturbed(model, seed):
            batch = self.data.first(model)
            self.run_model.settle(model, batch.inputs)
            sampler = build_sampler(samples, batch.truths).for_model(model)
            found = find_layers(model, lambda: self.run_model(model, batch.inputs), selection)
        trainable = {name for name, value in model.named_parameters() if value.requires_grad}
        size, count = batch.input_size, len(batch.truths)
        self.samplers = {
            layer.name: sampler.for_layer(layer.output, model, size) for layer in found
        }
        fits = [
            layer
            for layer in found
            if self.samplers[layer.name].accepts(layer.output.shape, count, size)
            and layer.own_parameters & trainable
        ]
        self.kind = sampler.kind
        self.skipped = [layer.name for layer in found if layer not in fits]
        self.layers = first_layers(fits, number)
        self.are_all = len(self.layers) == len(fits)
        self.of_whole_inputs = isinstance(sampler, ImageSamples)
        if self.of_whole_inputs:
            check_number_of_samples(num_samples, self.data.classes)
        self.data.choose(sampler, num_samples)

    def learner(
        self, model: nn.Module, layer: ForwardLayer, miner: Miner, loss: nn.Module
    ) -> LayerLearner:
        """The model up to a layer, with the loss there."""
        sampler = self.samplers[layer.name]
        return LayerLearner(model, layer, sampler, miner, loss, self.run_model)

    def estimate_statistics(self, model: nn.Module, layer: ForwardLayer) -> None:
        """Let new batch normalisations up to a layer normalise, before any training."""
        estimate_batch_statistics(
            model,
            self.data.batches(model),
            layer,
            self.run_model,
            num_batches=min(gather_objects(self.data.num_batches())),
            seed=self.seed,
        )

    def separation_index(self, model: nn.Module, layer: ForwardLayer) -> float:
        """Separation index of a layer on the training samples of all processes."""
        return layer_separation_index(
            model,
            self.data.batches(model),
            layer,
            self.samplers[layer.name],
            self.run_model,
            num_samples=self.num_samples,
            seed=self.seed,
            **self.search,
        )
