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
from mmlayerwise.separation import SeparationMeter
from mmlayerwise.separation.layers import LayerSelection
from mmlayerwise.separation.record import Measurement, SeparationRecord, format_table
from mmlayerwise.utils.errors import UserError
from mmlayerwise.visualization.report import (
    EvidenceObserver,
    check_plotly,
    collect_report,
    load_run,
    write_report,
)
from mmlayerwise.visualization.sample_pictures import to_picture
from mmlayerwise.visualization.separation_plot import draw_separation


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
        try:
            options[key] = literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = value
    return kind if kind == 'auto' else dict(type=kind, **options)


def analyze(
    cfg: Config,
    checkpoint: str | None,
    *,
    layers: LayerSelection = 'stages',
    samples: str | dict = 'auto',
    report: bool = False,
    run: str | None = None,
    **options: Any,
) -> SeparationRecord:
    """Measure the layers of a model and write ``separation.json`` and ``separation.png``.

    Args:
        cfg: A whole config, as :func:`mmlayerwise.engine.launch.load_config` returns it; changed
            in place.
        checkpoint: File or address of the weights; None measures the initial ones.
        layers: See :class:`mmlayerwise.separation.SeparationMeter`.
        samples: Likewise.
        report: Also write the interactive ``report.html``.
        run: Work directory of the training run whose epochs the report shows, or its
            ``separation.json``.
        **options: Likewise: ``max_samples``, ``order``, ``seed``.

    Returns:
        The record that was written into ``cfg.work_dir``.

    Raises:
        UserError: If the config has no validation data, or names, checkpoint, run or data are
            wrong, or the report is asked for and plotly is not installed.
    """
    earlier = _check_report(cfg, run) if report else None
    observer = EvidenceObserver()
    meter = SeparationMeter(layers, samples, observers=[observer] if report else [], **options)
    configuration = cfg.pretty_text if report else ''
    measured = MeasuredModel(cfg, checkpoint, meter.seed)
    measured.prepare(meter)
    profile = measured.measure(meter)
    settings = dict(
        config=cfg.filename,
        checkpoint=checkpoint,
        layers=layers,
        samples=samples,
        max_samples=meter.max_samples,
        order=meter.order,
        seed=meter.seed,
    )
    record = SeparationRecord(settings, [Measurement(0, 0, profile)])
    json_path, png_path = (Path(cfg.work_dir) / f'separation.{end}' for end in ('json', 'png'))
    if is_main_process():
        record.save(json_path)
        draw_separation(record, png_path)
    measured.logger.info(f'Separation of the layers\n{format_table(profile)}')
    lines = [f'separation:  {json_path}', f'picture:     {png_path}']
    if report:
        page = collect_report(
            measured.model,
            measured.batch,
            measured.forward,
            meter,
            observer,
            record,
            partial(picture_of, measured.data),
            title=f'Separation of the layers of {Path(cfg.filename).stem}',
            configuration=configuration,
            run=earlier,
            progress=is_main_process(),
        )
        path = Path(cfg.work_dir) / 'report.html'
        if is_main_process():
            write_report(page, path)
        lines.append(f'report:      {path}')
    measured.logger.info('\n'.join(['Results', *lines]))
    return record


def _check_report(cfg: Config, run: str | None) -> SeparationRecord | None:
    """Find what would stop the report before anything is measured; read the run's record."""
    check_plotly()
    if run is None:
        return None
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
