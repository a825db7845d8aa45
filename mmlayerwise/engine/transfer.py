"""What ``tools/analysis_tools/rank_backbones.py`` does: rank networks on a target data set."""

import copy
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from mmlayerwise.engine.measured_model import (
    MeasuredModel,
    prepare_output,
    use_data_of,
    use_training_data,
)
from mmlayerwise.separation import LayerSeparation, SeparationMeter, nearest_neighbors
from mmlayerwise.separation.observers import LayerKeeper
from mmlayerwise.separation.transfer import (
    BackboneSeparation,
    Hits,
    RankedBackbone,
    rank_backbones,
)
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.files import write_atomically
from mmlayerwise.visualization.transfer_plot import draw_ranking

FORMAT = 'mmlayerwise.backbone_ranking'
VERSION = 1


@dataclass
class Candidate:
    """A network to rank.

    Attributes:
        load: Gives its config, anew at every call.
        checkpoint: File or address of the weights; None takes the initial ones, with which a
            config may load pre-trained parts (``init_cfg``).
        layer: What is measured; None for the feature extractor's output.
        name: In the table.
    """

    load: Callable[[], Config]
    checkpoint: str | None = None
    layer: str | None = None
    name: str = ''


def rank(
    candidates: Sequence[Candidate],
    out: str | os.PathLike,
    *,
    target: Config | None = None,
    cross: bool = False,
    by: str = 'index',
    samples: str | dict = 'auto',
    max_samples: int = 2000,
    seed: int = 0,
) -> list[RankedBackbone]:
    """Measure networks on the target data and write ``ranking.json``, ``.md`` and ``.png``.

    Args:
        candidates: At least two networks.
        out: Folder of the results.
        target: Config whose data all networks are measured on; without one each is measured on the
            validation data of its own config, which then have to be the same.
        cross: Also look up the validation samples' neighbours among training samples.
        by: ``'index'`` or ``'cross'``.
        samples: See :class:`mmlayerwise.separation.SeparationMeter`.
        max_samples: At most so many samples of either split, balanced over the classes.
        seed: Of the choice of samples.

    Returns:
        The ranking, the best first; empty in all but the main process.

    Raises:
        UserError: If there are less than two networks or two of one name, if names, checkpoints or
            data are wrong, or if the networks were measured on different samples.
    """
    names = [one.name for one in candidates]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(
            f'a ranking needs at least two networks, each with a name of its own; got {names}'
        )
    options = dict(samples=samples, max_samples=max_samples, seed=seed)
    measured = []
    for number, one in enumerate(candidates, 1):
        print_log(f'Network {number} of {len(candidates)}: {one.name}', 'current')
        measured.append(_measure(one, out, target, cross or by == 'cross', options))
    if not is_main_process():
        return []
    _check_same_samples(measured)
    ranking, threshold = rank_backbones(measured, by)
    folder = Path(out)
    settings = dict(by=by, **options, data=None if target is None else target.filename)
    table = markdown_table(ranking, threshold, by)
    _write(folder / 'ranking.md', table)
    content = dict(
        format=FORMAT,
        version=VERSION,
        settings=settings,
        environment=describe_environment(),
        rejected_below=threshold,
        networks=[_plain(one, candidates) for one in ranking],
    )
    _write(folder / 'ranking.json', json.dumps(content, indent=1, allow_nan=False) + '\n')
    draw_ranking(ranking, threshold, folder / 'ranking.png')
    paths = '\n'.join(
        f'{kind:9}{folder / f"ranking.{end}"}'
        for kind, end in (('table:', 'md'), ('numbers:', 'json'), ('picture:', 'png'))
    )
    print_log(f'Ranking of {len(ranking)} networks\n\n{table}\n{paths}', 'current')
    return ranking


def _measure(
    candidate: Candidate,
    out: str | os.PathLike,
    target: Config | None,
    cross: bool,
    options: dict,
) -> BackboneSeparation | None:
    """Measure one network; None in all but the main process."""
    keeper, reference = LayerKeeper(), LayerKeeper()
    name, entry = _measure_split(candidate, out, target, keeper, options)
    if cross:
        _measure_split(candidate, out, target, reference, options, training=True)
    if not is_main_process():
        return None
    samples, found = keeper.samples, keeper.found
    cross_hits = None
    if cross:
        neighbors = nearest_neighbors(reference.samples.features, queries=samples.features)
        nearest = reference.samples.labels[neighbors.indices[:, 0]]
        cross_hits = Hits(samples.ids.cpu(), (nearest == samples.labels).cpu())
    hits = Hits(samples.ids.cpu(), found.per_sample.cpu())
    return BackboneSeparation(candidate.name, name, entry.dimension, found.chance, hits, cross_hits)


def _measure_split(
    candidate: Candidate,
    out: str | os.PathLike,
    target: Config | None,
    keeper: LayerKeeper,
    options: dict,
    training: bool = False,
) -> tuple[str, LayerSeparation]:
    """Measure a network on validation or training data; return the layer's name and entry."""
    cfg = candidate.load()
    cfg.work_dir = str(out)
    if target is not None:
        use_data_of(cfg, copy.deepcopy(target))
    if training:
        use_training_data(cfg)
    measured = MeasuredModel(cfg, candidate.checkpoint, options['seed'])
    meter = SeparationMeter('auto', order=1, observers=[keeper], **options)
    name = prepare_output(measured, meter, candidate.layer)
    return name, measured.measure(meter).layers[0]


def _check_same_samples(measured: Sequence[BackboneSeparation]) -> None:
    first = measured[0]
    for one in measured[1:]:
        if not set(one.hits.ids.tolist()) & set(first.hits.ids.tolist()) or not torch.isclose(
            torch.tensor(one.chance), torch.tensor(first.chance), atol=0.02
        ):
            raise UserError(
                f'{first.name} and {one.name} were measured on different data; name the config of '
                'the target data by --data'
            )


def markdown_table(ranking: Sequence[RankedBackbone], threshold: float, by: str) -> str:
    """The ranking as a table in Markdown.

    Args:
        ranking: The best first.
        threshold: Index below which networks are rejected.
        by: What they are ranked by.
    """
    with_cross = any(one.measured.cross is not None for one in ranking)
    head = ['', 'network', 'layer', 'dimension', 'index', '95 % interval']
    head += ['cross index', '95 % interval'] if with_cross else []
    head += ['lead over the next', '']
    rows = [head, ['---:', '---', '---', *['---:'] * (len(head) - 4), '---']]
    for place, one in enumerate(ranking, 1):
        found = one.measured
        cells = [str(place), found.name, f'`{found.layer}`', f'{found.dimension:,}']
        for hits in [found.hits, found.cross][: 1 + with_cross]:
            cells += [f'{hits.index:.4f}', '{:.3f} to {:.3f}'.format(*hits.interval)]
        lead = ''
        if one.lead is not None:
            lead = f'{one.lead.gain:+.4f} ± {one.lead.standard_error:.4f}'
            lead += '' if one.leads else ' (not significant)'
        rows.append([*cells, lead, 'rejected' if one.rejected else ''])
    lines = ['| ' + ' | '.join(cells) + ' |' for cells in rows]
    best = ranking[0].measured
    ranked_by = dict(index='index', cross='cross index')[by]
    samples = len(best.hits.ids)
    lines += [
        '',
        f'{samples:,} samples; chance {best.chance:.4f}; networks below {threshold:.4f} = '
        f'0.5 (best + chance) are rejected. Ranked by the {ranked_by}. '
        'The lead is the paired difference on the same samples with its standard error.',
        '',
    ]
    return '\n'.join(lines)


def _plain(one: RankedBackbone, candidates: Sequence[Candidate]) -> dict:
    """A network of the ranking as numbers and names, for JSON."""
    found = one.measured
    (candidate,) = (each for each in candidates if each.name == found.name)

    def numbers(hits: Hits | None) -> dict | None:
        if hits is None:
            return None
        return dict(index=hits.index, interval=hits.interval, num_samples=len(hits.ids))

    lead = one.lead and dict(
        gain=one.lead.gain, standard_error=one.lead.standard_error, significant=one.leads
    )
    return dict(
        name=found.name,
        config=candidate.load().filename,
        checkpoint=candidate.checkpoint,
        layer=found.layer,
        dimension=found.dimension,
        chance=found.chance,
        separation=numbers(found.hits),
        cross=numbers(found.cross),
        lead=lead,
        rejected=one.rejected,
    )


def _write(path: Path, text: str) -> None:
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding='utf-8')
