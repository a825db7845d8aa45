"""What ``tools/analysis_tools/find_hard_samples.py`` does: list hard and mislabelled samples."""

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dist import is_main_process

from mmlayerwise.engine.analysis import picture_of
from mmlayerwise.engine.measured_model import MeasuredModel, prepare_output, use_training_data
from mmlayerwise.engine.separation import MeasuringData
from mmlayerwise.separation import SeparationError, SeparationMeter
from mmlayerwise.separation.hard_samples import RANKINGS, rank_samples, score_samples
from mmlayerwise.separation.observers import LayerKeeper
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.files import write_atomically
from mmlayerwise.visualization.hard_samples_sheet import SheetRow, draw_sheet
from mmlayerwise.visualization.report.thumbnails import crop

FORMAT = 'mmlayerwise.hard_samples'
VERSION = 1
# Decoded images kept while the sheet is made: neighbours repeat.
_PICTURES_KEPT = 64


@dataclass
class ListedSample:
    """A sample, or a neighbour of one.

    Attributes:
        image: Number of its image in the data set.
        path: File of the image; None where the data set has no files.
        place: Where in the network's input: 4 numbers for a box (left, top, right, bottom), 2 for
            a pixel (row, column), none for a whole image.
        label: Class by its annotation.
    """

    image: int
    path: str | None
    place: list[float]
    label: str


@dataclass
class Neighbor(ListedSample):
    """A neighbour.

    Attributes:
        distance: Euclidean, between the layer's vectors.
    """

    distance: float


@dataclass
class HardSample(ListedSample):
    """A sample with what its neighbours say, see :class:`SampleScores`.

    Attributes:
        suggested: Most frequent class of the neighbours that are not friends.
        suspicion: Share of neighbours of that class less the share of friends.
        soft: Share of friends among the neighbours.
        anti: Whether no neighbour is a friend.
        data_score: Length of the first run of friends, or minus that of other neighbours.
        neighbors: Nearest first.
    """

    suggested: str
    suspicion: float
    soft: float
    anti: bool
    data_score: int
    neighbors: list[Neighbor]


def find_hard_samples(
    cfg: Config,
    checkpoint: str | None,
    *,
    layer: str | None = None,
    samples: str | dict = 'auto',
    split: str = 'train',
    by: str = 'mislabelled',
    order: int = 10,
    max_samples: int = 20000,
    top: int = 200,
    pictured: int = 24,
    seed: int = 0,
) -> list[HardSample]:
    """Rank the samples of a data set and write ``hard_samples.json``, ``.csv`` and ``.png``.

    Args:
        cfg: A whole config, as :func:`mmlayerwise.engine.launch.load_config` returns it; changed
            in place.
        checkpoint: File or address of the weights; None takes the initial ones.
        layer: Where to look; by default the feature extractor's output.
        samples: See :class:`mmlayerwise.separation.SeparationMeter`.
        split: ``'train'`` (through the validation pipeline) or ``'val'``.
        by: One of :data:`mmlayerwise.separation.hard_samples.RANKINGS`.
        order: How many neighbours vote.
        max_samples: At most so many samples, balanced over the classes.
        top: How many to list.
        pictured: How many of them to picture.
        seed: Of the choice of samples.

    Returns:
        The listed samples, the most conspicuous first; empty in all but the main process.

    Raises:
        UserError: If split, ranking, names, checkpoint or data are wrong.
    """
    if split not in ('train', 'val') or by not in RANKINGS or top < 1:
        raise UserError(
            f'expected split train or val, a ranking of {", ".join(RANKINGS)} and top of at least '
            f'1; got {split!r}, {by!r} and {top}'
        )
    if split == 'train':
        use_training_data(cfg)
    measured = MeasuredModel(cfg, checkpoint, seed)
    keeper = LayerKeeper()
    meter = SeparationMeter(
        'auto', samples, max_samples=max_samples, order=order, seed=seed, observers=[keeper]
    )
    name = prepare_output(measured, meter, layer)
    profile = measured.measure(meter)
    if not is_main_process():
        return []
    found = listed(keeper, meter, measured.data, by, top)
    (entry,) = profile.layers
    settings = dict(
        config=cfg.filename, checkpoint=checkpoint, split=split, layer=name, by=by,
        order=entry.order, samples=profile.samples, num_samples=entry.num_samples,
        index=entry.index, seed=seed,
    )  # fmt: skip
    folder = Path(cfg.work_dir)
    write_json(found, settings, folder / 'hard_samples.json')
    write_csv(found, folder / 'hard_samples.csv')
    lines = [
        f'list:     {folder / "hard_samples.json"}',
        f'table:    {folder / "hard_samples.csv"}',
    ]
    try:
        picture = partial(picture_of, measured.data)
        draw_sheet(sheet_rows(found[:pictured], picture), folder / 'hard_samples.png')
        lines.append(f'pictures: {folder / "hard_samples.png"}')
    except (UserError, SeparationError) as error:
        lines.append(f'pictures: none, {error}')
    measured.logger.info(
        f'{len(found)} of {entry.num_samples:,} {profile.samples} samples of {name}, by {by}\n'
        + '\n'.join(lines)
    )
    return found


def listed(
    keeper: LayerKeeper, meter: SeparationMeter, data: MeasuringData, by: str, top: int
) -> list[HardSample]:
    """Rank the samples of the layer that was kept and say where they are from."""
    scores = score_samples(keeper.found)
    ids = keeper.samples.ids.tolist()
    labels = keeper.samples.labels.tolist()
    neighbors = keeper.found.neighbors.indices.tolist()
    distances = keeper.found.neighbors.distances.tolist()

    def describe(row: int) -> dict:
        place = keeper.places[ids[row]]
        box = [round(value, 2) for value in place.box]
        path = image_path(data, place.image)
        return dict(image=place.image, path=path, place=box, label=meter.class_name(labels[row]))

    return [
        HardSample(
            **describe(row),
            suggested=meter.class_name(int(scores.suggested[row])),
            suspicion=round(float(scores.suspicion[row]), 4),
            soft=round(float(scores.soft[row]), 4),
            anti=bool(scores.anti[row]),
            data_score=int(scores.data_score[row]),
            neighbors=[
                Neighbor(**describe(other), distance=float(f'{distance:.6g}'))
                for other, distance in zip(neighbors[row], distances[row], strict=True)
            ],
        )
        for row in rank_samples(scores, by)[:top].tolist()
    ]


def image_path(data: MeasuringData, image: int) -> str | None:
    """File of an image, where the data set tells."""
    if not hasattr(data.dataset, 'get_data_info'):
        return None
    return data.dataset.get_data_info(image).get('img_path')


def write_json(samples: Sequence[HardSample], settings: dict, path: str | os.PathLike) -> None:
    """Write the list with its settings, versions and hardware."""
    content = dict(
        format=FORMAT,
        version=VERSION,
        settings=settings,
        environment=describe_environment(),
        samples=[asdict(one) for one in samples],
    )
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + '\n', 'utf-8')


def write_csv(samples: Sequence[HardSample], path: str | os.PathLike) -> None:
    """Write a row a sample, for a spreadsheet; lists within a cell are separated by blanks."""
    columns = ('image', 'path', 'label', 'suggested', 'suspicion', 'soft', 'anti', 'data_score')
    with write_atomically(path) as temporary, temporary.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['rank', *columns, 'place', 'neighbor_labels', 'neighbor_images'])
        for rank, one in enumerate(samples, 1):
            cells = [getattr(one, column) for column in columns]
            place = ' '.join(f'{value:g}' for value in one.place)
            labels = ' '.join(other.label.replace(' ', '_') for other in one.neighbors)
            images = ' '.join(str(other.image) for other in one.neighbors)
            writer.writerow([rank, *cells, place, labels, images])


def sheet_rows(samples: Sequence[HardSample], picture: partial) -> list[SheetRow]:
    """Cut the samples and their nearest neighbours out of their images."""
    kept = lru_cache(_PICTURES_KEPT)(picture)

    def cut(one: ListedSample) -> np.ndarray:
        return crop(kept(one.image), one.place)

    return [
        SheetRow(
            cut(one),
            f'image {one.image}: {one.label}',
            f'suspicion {one.suspicion:+.2f}, soft {one.soft:.2f}, data score {one.data_score:+d}',
            [(cut(other), other.label, other.label == one.label) for other in one.neighbors],
        )
        for one in samples
    ]
