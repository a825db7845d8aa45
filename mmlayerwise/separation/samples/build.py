"""Samplers by name."""

from collections.abc import Sequence

from mmlayerwise.plugins import hookimpl, installed_plugins
from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.samples.boxes import BoxSamples
from mmlayerwise.separation.samples.ground_truth import GroundTruth
from mmlayerwise.separation.samples.images import ImageSamples
from mmlayerwise.separation.samples.instances import InstanceSamples
from mmlayerwise.separation.samples.pixels import PixelSamples
from mmlayerwise.separation.samples.sampler import Sampler
from mmlayerwise.separation.samples.text import TextSamples, TokenSamples


@hookimpl
def samplers() -> dict[str, type[Sampler]]:
    """Give the samplers of this module to the plugin manager."""
    kinds = (ImageSamples, BoxSamples, PixelSamples, InstanceSamples, TextSamples, TokenSamples)
    return {sampler.__name__: sampler for sampler in kinds}


def build_sampler(samples: str | dict | Sampler, truths: Sequence[GroundTruth]) -> Sampler:
    """Build a sampler from ``'auto'``, ``dict(type=...)`` or a sampler.

    Args:
        samples: ``'auto'`` follows the ground truth: the image's or text's label, else boxes, else
            the label map or the tokens' labels. A dict names the type and its arguments.
        truths: Ground truth of a batch, for ``'auto'``.

    Raises:
        SeparationError: For an unknown type, wrong arguments, or no ground truth.
    """
    if isinstance(samples, Sampler):
        return samples
    if samples == 'auto':
        return _inferred(truths)
    config = dict(samples) if isinstance(samples, dict) else {'type': samples}
    kind = config.pop('type', None)
    known = installed_plugins().provided('samplers')
    if kind not in known:
        raise SeparationError(
            f"Unknown samples type {kind!r}; there are 'auto', {', '.join(map(repr, known))}."
        )
    try:
        return known[kind](**config)
    except TypeError as error:
        raise SeparationError(f'{kind}: {error}.') from error


def _inferred(truths: Sequence[GroundTruth]) -> Sampler:
    is_text = any(truth.size is not None and truth.size[0] == 1 for truth in truths)
    for field, sampler in (
        ('label', TextSamples if is_text else ImageSamples),
        ('boxes', BoxSamples),
        ('label_map', TokenSamples if is_text else PixelSamples),
    ):
        if any(getattr(truth, field) is not None for truth in truths):
            return sampler()
    raise SeparationError(
        'The data give no ground truth: no gt_label, no gt_instances.bboxes, no gt_sem_seg in the '
        'data samples. Add the annotation transform, for example dict(type="LoadAnnotations", '
        'with_bbox=True), to val_dataloader.dataset.pipeline before its Pack transform, and let '
        'the data set point at an annotated split.'
    )
