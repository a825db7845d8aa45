"""Collecting what the report shows from a measured model, its data and a training run."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.progress import track
from torch import nn

from mmlayerwise.separation.batches import Batch, Forward
from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.meter import SeparationMeter
from mmlayerwise.separation.record import SeparationRecord
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError
from mmlayerwise.visualization.report.cost import model_cost
from mmlayerwise.visualization.report.data import LayerView, Pair, ReportData, Sample
from mmlayerwise.visualization.report.evidence import (
    PICTURE_BUDGET,
    EvidenceCollection,
    EvidenceObserver,
)
from mmlayerwise.visualization.report.thumbnails import thumbnail

# Pictures of the page, whatever the number of layers and of pairs.
MAX_PICTURES = PICTURE_BUDGET

PictureOf = Callable[[int], np.ndarray]


def collect_report(
    model: nn.Module,
    batch: Batch,
    forward: Forward,
    meter: SeparationMeter,
    observer: EvidenceObserver,
    record: SeparationRecord,
    picture_of: PictureOf,
    *,
    title: str = 'Separation of the layers',
    configuration: str = '',
    run: SeparationRecord | None = None,
    progress: bool = True,
) -> ReportData:
    """Collect everything that the page shows, after the measurement.

    Args:
        model: The measured model.
        batch: One of its batches, for counting operations.
        forward: Runs the model on a batch.
        meter: The meter that measured it.
        observer: One that looked on.
        record: Its measurement.
        picture_of: Gives the picture of an image by its number: uint8 of shape (H, W, 3), RGB, in
            the coordinates of the samples.
        title: Heading of the page.
        configuration: Text of the config.
        run: The record of the training run, for the slider.
        progress: Whether to show a progress bar.
    """
    evidence = observer.evidence()
    cost, notes = model_cost(model, meter.chosen, batch, forward)
    samples, positions = _samples(evidence)
    notes += _add_pictures(samples, positions, evidence, picture_of, progress)
    names = {
        int(label): meter.class_name(int(label))
        for one in evidence.layers.values()
        for pair in one.pairs
        for label in pair[2:4]
    }
    for one in evidence.layers.values():
        names.update({label: meter.class_name(label) for label in one.labels.tolist()})
    whole, steps, more = with_run(record, run)
    return ReportData(
        title=title,
        record=whole,
        steps=steps,
        cost=cost,
        views=_views(evidence, positions),
        samples=samples,
        class_names=names,
        configuration=configuration,
        environment=describe_environment(),
        notes=notes + more,
    )


def load_run(path: str | Path) -> SeparationRecord:
    """Read the record of a training run.

    Args:
        path: The work directory of the run, or its ``separation.json``.

    Raises:
        UserError: If there is no record, or an empty one.
        SeparationError: If the file is no record.
    """
    file = Path(path)
    if file.is_dir():
        file = file / 'separation.json'
    if not file.is_file():
        raise UserError(
            f'--run {path}: there is no {file}. Expected the work directory of a training run with '
            "custom_hooks = [dict(type='mmlayerwise.SeparationHook')], or its separation.json"
        )
    record = SeparationRecord.load(file)
    if not record.measurements:
        raise UserError(f'--run {path}: {file} holds no measurement yet')
    return record


def with_run(
    record: SeparationRecord, run: SeparationRecord | None
) -> tuple[SeparationRecord, list[str], list[str]]:
    """Put the measurements of a run before the one of its result.

    Returns:
        All measurements, the name of each, and notes.
    """
    here = 'this checkpoint' if record.settings.get('checkpoint') else 'initial weights'
    if run is None:
        return record, [here] * len(record.measurements), []
    earlier = run.measurements
    by_epoch = len({one.epoch for one in earlier}) == len(earlier)
    steps = [
        f'epoch {one.epoch:,}' if by_epoch else f'iteration {one.iteration:,}' for one in earlier
    ]
    notes = []
    differing = [
        f'{name} {run.settings[name]!r} against {record.settings[name]!r}'
        for name in ('layers', 'samples', 'max_samples', 'order', 'seed')
        if name in run.settings
        and name in record.settings
        and run.settings[name] != record.settings[name]
    ]
    if differing:
        notes.append(
            f'The run measured otherwise than {here} was: {"; ".join(differing)}. Compare the '
            'epochs with each other rather than with the last step of the slider.'
        )
    whole = SeparationRecord(record.settings, [*earlier, *record.measurements])
    return whole, [*steps, *[here] * len(record.measurements)], notes


def _samples(evidence: EvidenceCollection) -> tuple[list[Sample], dict[int, int]]:
    """All samples that layers refer to, and the position of each id among them."""
    used: dict[int, None] = {}
    for layer in evidence.layers.values():
        used.update(dict.fromkeys(layer.ids.tolist()))
        used.update(dict.fromkeys(number for pair in layer.pairs for number in pair[:2]))
    positions = {number: place for place, number in enumerate(used)}
    return [Sample(evidence.places[number].image) for number in used], positions


def _views(evidence: EvidenceCollection, positions: dict[int, int]) -> dict[str, LayerView]:
    return {
        name: LayerView(
            samples=[positions[number] for number in layer.ids.tolist()],
            labels=layer.labels.tolist(),
            x=[_short(value) for value in layer.points[:, 0].tolist()],
            y=[_short(value) for value in layer.points[:, 1].tolist()],
            explained=layer.explained,
            pairs=[
                Pair(positions[sample], positions[neighbor], label, other, _short(distance))
                for sample, neighbor, label, other, distance in layer.pairs
            ],
        )
        for name, layer in evidence.layers.items()
    }


def _short(value: float) -> float:
    """Four significant digits: what a picture can show."""
    return float(f'{value:.4g}') if math.isfinite(value) else 0.0


def _pictured(evidence: EvidenceCollection) -> list[int]:
    """Ids to picture: the first pair of every layer and kind, then the second, and so on."""
    columns: list[list[tuple[int, int]]] = []
    for layer in evidence.layers.values():
        for agrees in (True, False):
            columns.append([p[:2] for p in layer.pairs if (p[2] == p[3]) == agrees])
    depth = max((len(column) for column in columns), default=0)
    rows: Sequence[tuple[int, int]] = [
        column[place] for place in range(depth) for column in columns if place < len(column)
    ]
    return list(dict.fromkeys(number for pair in rows for number in pair))


def _add_pictures(
    samples: list[Sample],
    positions: dict[int, int],
    evidence: EvidenceCollection,
    picture_of: PictureOf,
    progress: bool,
) -> list[str]:
    wanted = _pictured(evidence)
    notes = []
    if len(wanted) > MAX_PICTURES:
        notes.append(
            f'{MAX_PICTURES:,} of {len(wanted):,} samples of pairs are pictured; more would make '
            'this page too large.'
        )
    by_image: dict[int, list[int]] = {}
    for number in wanted[:MAX_PICTURES]:
        by_image.setdefault(evidence.places[number].image, []).append(number)
    for image, numbers in track(
        sorted(by_image.items()), 'Making small pictures', disable=not progress
    ):
        try:
            picture = picture_of(image)
        except (UserError, SeparationError) as error:
            return [*notes, f'There are no pictures: {error}.']
        for number in numbers:
            place = evidence.places[number].box
            samples[positions[number]].picture = thumbnail(picture, place)
    return notes
