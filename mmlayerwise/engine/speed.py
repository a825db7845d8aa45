"""How many images a second a trained network handles."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mmlayerwise.utils.errors import UserError


@dataclass(frozen=True)
class Speed:
    """Time that one image takes, from the loaded image to the result.

    Attributes:
        images_per_second: Of all timed images together, as mmdet counts it.
        median_seconds: Of one image.
        slowest_tenth_seconds: What nine of ten images stay below.
        num_images: How many were timed.
    """

    images_per_second: float
    median_seconds: float
    slowest_tenth_seconds: float
    num_images: int


@torch.no_grad()
def measure_speed(
    model: nn.Module,
    batches: Iterable[Any],
    num_images: int,
    num_warmup: int = 5,
    clock: Callable[[], float] | None = None,
) -> Iterator[Speed]:
    """Time ``model.test_step``, which moves, normalises, runs and post-processes one image.

    Args:
        model: The network, on its device; it is put into evaluation mode.
        batches: Collated batches of one image each; gone through again where they are too few.
        num_images: How many to time.
        num_warmup: Images to run before, untimed.
        clock: Gives seconds, by default the wall's; ``time.process_time`` leaves out the time of
            other programs.

    Yields:
        The speed after every timed image; the last one is the result.

    Raises:
        UserError: If there is no batch.
    """
    clock = clock or time.perf_counter
    batches = iter(batches)
    loaded = list(islice(batches, num_warmup + num_images))
    if not loaded:
        raise UserError('there is no image to time: the test data set is empty')
    model.eval()
    turns = chain.from_iterable(repeat(loaded))
    for batch in islice(turns, num_warmup):
        model.test_step(batch)
    seconds = []
    for batch in islice(turns, num_images):
        _synchronize()
        started = clock()
        model.test_step(batch)
        _synchronize()
        seconds.append(clock() - started)
        ordered = sorted(seconds)
        yield Speed(
            images_per_second=len(seconds) / sum(seconds),
            median_seconds=statistics.median(seconds),
            slowest_tenth_seconds=ordered[min(len(seconds) - 1, int(0.9 * len(seconds)))],
            num_images=len(seconds),
        )


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def synthetic_batch(cfg: Config, shape: tuple[int, int]) -> dict[str, Any]:
    """One random image as the loader of a config's toolbox would give it.

    Args:
        cfg: A config; its ``default_scope`` says what a data sample is.
        shape: (height, width) in pixels.

    Returns:
        ``inputs``, one uint8 image of shape (3, height, width), and ``data_samples``.
    """
    scope = cfg.get('default_scope', 'mmengine')
    if scope == 'mmdet':
        from mmdet.structures import DetDataSample as Sample
    elif scope == 'mmseg':
        from mmseg.structures import SegDataSample as Sample
    else:
        from mmlayerwise.structures import ClassificationDataSample as Sample
    image = torch.randint(
        0, 256, (3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    known = dict(img_shape=shape, ori_shape=shape, pad_shape=shape, scale_factor=(1.0, 1.0))
    return dict(inputs=[image], data_samples=[Sample(metainfo=known)])
