"""Running statistics for batch normalisations that have seen no batch."""

from collections.abc import Iterable
from itertools import islice

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmlayerwise.forward.layer_learner import Forward, read_layer
from mmlayerwise.forward.layer_order import ForwardLayer
from mmlayerwise.separation import Batch, undisturbed


def estimate_batch_statistics(
    model: nn.Module,
    batches: Iterable[Batch],
    layer: ForwardLayer,
    forward: Forward,
    *,
    num_batches: int | None = None,
    seed: int = 0,
) -> int:
    """Give the batch normalisations up to a layer the statistics of the data, if they have none.

    A new batch normalisation holds mean 0 and variance 1, so that in evaluation mode it normalises
    nothing. Here the means over the batches take their place. Normalisations that have seen batches
    and those that the model keeps in evaluation mode are left alone.

    Args:
        model: The model; it is left as it was found but for the statistics.
        batches: The data; with several processes their share.
        layer: Where the pass ends.
        forward: Runs the model on the inputs of a batch.
        num_batches: Only so many, which synchronised normalisations need to be the same number in
            all processes; None for all.
        seed: Of what is random in the pass.

    Returns:
        How many normalisations were given statistics.
    """
    new = _untouched(model)
    if not new or num_batches == 0:
        return 0
    momenta = [module.momentum for module in new]
    with undisturbed(model, seed):
        for module in new:
            module.training, module.momentum = True, None  # a plain mean over the batches
        for batch in islice(batches, num_batches):
            read_layer(model, layer.output.tap, forward, batch)
    for module, momentum in zip(new, momenta, strict=True):
        module.momentum = momentum
    return sum(bool(module.num_batches_tracked) for module in new)


def _untouched(model: nn.Module) -> list[_BatchNorm]:
    modes = [(module, module.training) for module in model.modules()]
    model.train()
    found = [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm)
        and module.training
        and module.track_running_stats
        and not module.num_batches_tracked
    ]
    for module, training in modes:
        module.training = training
    return found
