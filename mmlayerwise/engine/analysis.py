"""What ``tools/analyze_separation.py`` does: measure the layers of a config's model once."""

from ast import literal_eval
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dist import is_main_process
from torch import Tensor

from mmlayerwise.engine.measured_model import MeasuredModel
from mmlayerwise.engine.separation import MeasuringData
from mmlayerwise.plugins import installed_plugins
from mmlayerwise.separation import SeparationMeter
from mmlayerwise.separation.choice import LayerPooling
from mmlayerwise.separation.layers import LayerSelection
from mmlayerwise.separation.observers import IndexObserver
from mmlayerwise.separation.record import Measurement, SeparationRecord
from mmlayerwise.separation.table import format_table
from mmlayerwise.utils.errors import UserError
from mmlayerwise.visualization.report import (
    EvidenceObserver,
    ReportData,
    check_plotly,
    collect_report,
    load_run,
)
from mmlayerwise.visualization.sample_pictures import to_picture


def sampler_options(words: Sequence[str]) -> str | dict:
    """Read ``TYPE KEY=VALUE ...`` of the command line.

    Args:
        words: The type, then its arguments; values are Python literals or else text.

    Returns:
        ``'auto'`` or ``dict(type=...)``.

    Raises:
        UserError: If an argument has no ``=``, or ``auto`` has arguments.
    """
    kind, *arguments = words
    options: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.partition('=')
        if not equals or kind == 'auto':
            raise UserError(
                f'--samples {" ".join(words)}: expected a type and then KEY=VALUE arguments, '
                'such as --samples BoxSamples output_size=5'
            )
        options[key] = _value(value)
    return kind if kind == 'auto' else dict(type=kind, **options)


def pooling_options(words: Sequence[str] | None) -> LayerPooling | None:
    """Read ``--pooling`` of the command line.

    Args:
        words: One pooling for all layers, ``average``, or ``LAYER=POOLING ...``.

    Returns:
        What :class:`mmlayerwise.separation.SeparationMeter` takes.

    Raises:
        UserError: If there are several words, one of them without ``=``.
    """
    if not words:
        return None
    if len(words) == 1 and '=' not in words[0]:
        return _value(words[0])
    pairs = [word.rpartition('=') for word in words]
    if not all(equals for _, equals, _ in pairs):
        raise UserError(
            f'--pooling {" ".join(words)}: expected one pooling, or LAYER=POOLING arguments, '
            "such as --pooling 'backbone.*=average' 'neck.*=4'"
        )
    return {layer: _value(pooling) for layer, _, pooling in pairs}


def _value(text: str) -> Any:
    """A Python literal, or else the text."""
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def analyze(
    cfg: Config,
    checkpoint: str | None,
    *,
    layers: LayerSelection = 'stages',
    samples: str | dict = 'auto',
    pooling: LayerPooling | None = None,
    indices: Sequence[str] = (),
    render: Sequence[str] = ('picture',),
    run: str | None = None,
    **options: Any,
) -> SeparationRecord:
    """Measure the layers of a model, write ``separation.json`` and let renderers show it.

    Args:
        cfg: A whole config, as :func:`mmlayerwise.engine.launch.load_config` returns it; changed
            in place.
        checkpoint: File or address of the weights; None measures the initial ones.
        layers: See :class:`mmlayerwise.separation.SeparationMeter`.
        samples: Likewise.
        pooling: Likewise.
        indices: Names of further indices, of plugins or built in.
        render: Names of the renderers: ``'picture'`` (``separation.png``), ``'report'`` (the
            interactive ``report.html``), or those of plugins.
        run: Work directory of the training run whose epochs the report shows, or its
            ``separation.json``.
        **options: Likewise: ``max_samples``, ``order``, ``seed``, ``feature_memory``,
            ``distortion``.

    Returns:
        The record that was written into ``cfg.work_dir``.

    Raises:
        UserError: If the config has no validation data, or names, checkpoint, run or data are
            wrong, a renderer or index is unknown, the report is asked for and plotly is not
            installed, or the work directory holds the record of a training run.
    """
    _keep_training_record(cfg)
    renderers = {one: installed_plugins().look_up('report_renderers', one) for one in render}
    if 'report' in renderers:
        check_plotly()
    earlier = None if run is None else _earlier(cfg, run)
    # The picture alone needs no single samples.
    report = any(one != 'picture' for one in renderers)
    observer = EvidenceObserver()
    meter = SeparationMeter(
        layers, samples, pooling=pooling, observers=[observer] if report else [], **options
    )
    further = IndexObserver(indices)
    if indices:
        meter.observers.append(further)
    configuration = cfg.pretty_text if report else ''
    measured = MeasuredModel(cfg, checkpoint, meter.seed)
    measured.prepare(meter)
    profile = measured.measure(meter)
    further.fill(profile)
    settings = dict(
        config=cfg.filename,
        checkpoint=checkpoint,
        layers=layers,
        samples=samples,
        pooling=pooling,
        max_samples=meter.max_samples,
        order=meter.order,
        seed=meter.seed,
    )
    record = SeparationRecord(settings, [Measurement(0, 0, profile)])
    folder = Path(cfg.work_dir)
    path = folder / 'separation.json'
    if is_main_process():
        record.save(path)
    measured.logger.info(f'Separation of the layers\n{format_table(profile)}')
    title = f'Separation of the layers of {Path(cfg.filename).stem}'
    shown = ReportData(title, record, [title])
    if report:
        shown = collect_report(
            measured.model,
            measured.batch,
            measured.forward,
            meter,
            observer,
            record,
            partial(picture_of, measured.data),
            title=title,
            configuration=configuration,
            run=earlier,
            progress=is_main_process(),
        )
    lines = [f'separation:  {path}']
    if is_main_process():
        lines += [f'{f"{one}:":12} {draw(shown, folder)}' for one, draw in renderers.items()]
    measured.logger.info('\n'.join(['Results', *lines]))
    return record


def _keep_training_record(cfg: Config) -> None:
    """Refuse to overwrite what SeparationHook wrote during training."""
    path = Path(cfg.work_dir) / 'separation.json'
    if path.exists() and 'checkpoint' not in SeparationRecord.load(path).settings:
        raise UserError(
            f'{path} is the record of a training run and would be overwritten; choose another '
            'folder with --out or --work-dir'
        )


def _earlier(cfg: Config, run: str) -> SeparationRecord:
    """Read the record of a run before anything is measured."""
    folder = Path(run) if Path(run).is_dir() else Path(run).parent
    if folder.resolve() == Path(cfg.work_dir).resolve():
        raise UserError(
            f'--run {run} and the folder of the report are the same, and separation.json of the '
            'run would be overwritten; choose another folder for --out'
        )
    return load_run(run)


def picture_of(data: MeasuringData, image: int) -> np.ndarray:
    """The image as the samples see it: after the pipeline, before it is normalised."""
    item = data.dataset[image]
    inputs = item.get('inputs') if isinstance(item, dict) else item[0]
    if not isinstance(inputs, Tensor):
        raise UserError(f'the pipeline gives inputs of type {type(inputs).__name__}, not images')
    return to_picture(inputs)
