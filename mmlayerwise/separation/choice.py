"""Which layers of a model are measured, and by which sampler each."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from mmlayerwise.separation.batches import Batch
from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.layers import Layer, LayerSelection, Trace
from mmlayerwise.separation.samples import Pooling, Sampler

# One pooling for all layers, or one for each name or regular expression.
LayerPooling = Pooling | Mapping[str, Pooling]


@dataclass
class Choice:
    """The layers to measure.

    Attributes:
        layers: In execution order.
        samplers: By the name of the layer.
        skipped: Layers of ``'auto'`` or ``'stages'`` whose outputs hold no such samples.
    """

    layers: list[Layer]
    samplers: dict[str, Sampler]
    skipped: list[str]


def choose_layers(
    trace: Trace,
    wanted: LayerSelection,
    sampler: Sampler,
    model: nn.Module,
    batch: Batch,
    pooling: LayerPooling | None = None,
) -> Choice:
    """Choose the layers that hold samples.

    Args:
        trace: One forward pass of the model.
        wanted: ``'auto'``, ``'stages'`` or a list of names and regular expressions.
        sampler: What a sample is.
        model: The model.
        batch: What it was traced with.
        pooling: How maps become vectors, instead of the sampler's own way.

    Raises:
        SeparationError: For unknown names, for named layers that hold no samples of this kind, and
            for a pooling that is none or that names no layer.
    """
    found = trace.select(wanted)
    samplers = {layer.name: sampler.for_layer(layer, model, batch.input_size) for layer in found}
    fits = [
        layer
        for layer in found
        if samplers[layer.name].accepts(layer.shape, len(batch.truths), batch.input_size)
    ]
    names = {layer.name for layer in fits}
    unfit = [layer for layer in found if layer.name not in names]
    if unfit and wanted not in ('auto', 'stages'):
        listed = ', '.join(f'{layer.name} {layer.shape}' for layer in unfit)
        raise SeparationError(
            f'A {sampler.kind} cannot be found in the outputs of {listed}, for '
            f'{len(batch.truths)} images of {batch.input_size}. Choose layers with one feature '
            'map an image, or other samples.'
        )
    if not fits:
        raise SeparationError(
            f'None of the {len(found)} layers that {wanted!r} selects holds '
            f'{sampler.kind} samples. Name the layers, or choose other samples.'
        )
    samplers = {layer.name: samplers[layer.name] for layer in fits}
    if pooling is not None:
        for name, one in poolings(pooling, fits).items():
            samplers[name] = samplers[name].pooled(one)
    return Choice(fits, samplers, [layer.name for layer in unfit])


def poolings(pooling: LayerPooling, layers: Sequence[Layer]) -> dict[str, Pooling]:
    """The pooling of each layer that has one; the first name or expression that fits decides.

    Raises:
        SeparationError: For a name or expression that fits none of the layers.
    """
    if not isinstance(pooling, Mapping):
        pooling = {'.*': pooling}
    found: dict[str, Pooling] = {}
    for pattern, one in pooling.items():
        names = [layer.name for layer in layers if _fits(pattern, layer)]
        if not names:
            shown = ', '.join(layer.name for layer in layers[:8])
            raise SeparationError(
                f'pooling: {pattern!r} fits none of the {len(layers)} measured layers: {shown}'
                f'{", ..." if len(layers) > 8 else ""}.'
            )
        for name in names:
            found.setdefault(name, one)
    return found


def _fits(pattern: str, layer: Layer) -> bool:
    if pattern in (layer.name, layer.module):
        return True
    try:
        return any(re.fullmatch(pattern, name) for name in (layer.name, layer.module))
    except re.error as error:
        raise SeparationError(f'pooling: {pattern!r} is no regular expression: {error}.') from error
