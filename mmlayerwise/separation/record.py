"""The profiles of a training run in one JSON file, ``separation.json``."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.profile import LayerSeparation, SeparationProfile
from mmlayerwise.utils.files import write_atomically

FORMAT = 'mmlayerwise.separation'
VERSION = 1


@dataclass
class Measurement:
    """One measurement within a run.

    Attributes:
        epoch: Epochs trained before it.
        iteration: Iterations trained before it.
        profile: The layers.
    """

    epoch: int
    iteration: int
    profile: SeparationProfile


@dataclass
class SeparationRecord:
    """All measurements of a run and how they were made.

    Attributes:
        settings: Options of the measurement, for the reader.
        measurements: In the order of training.
    """

    settings: dict = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)

    def add(self, measurement: Measurement) -> None:
        """Append a measurement; those of the same or a later iteration are replaced."""
        self.keep_until(measurement.iteration - 1)
        self.measurements.append(measurement)

    def keep_until(self, iteration: int) -> None:
        """Drop measurements after an iteration, as a resumed run will repeat them."""
        self.measurements = [one for one in self.measurements if one.iteration <= iteration]

    def layers(self) -> list[str]:
        """Names of all layers measured, in execution order of the latest measurement first."""
        names: dict[str, None] = {}
        for one in reversed(self.measurements):
            names.update(dict.fromkeys(layer.name for layer in one.profile.layers))
        return list(names)

    def save(self, path: str | os.PathLike) -> None:
        """Write the record as JSON, whole or not at all."""
        data = {
            'format': FORMAT,
            'version': VERSION,
            'settings': self.settings,
            'measurements': [
                {'epoch': one.epoch, 'iteration': one.iteration, **one.profile.to_dict()}
                for one in self.measurements
            ],
        }
        # A NaN would make a file that no other JSON reader takes.
        text = json.dumps(data, indent=1, allow_nan=False)
        with write_atomically(path) as temporary:
            temporary.write_text(text + '\n', encoding='utf-8')

    @classmethod
    def load(cls, path: str | os.PathLike) -> 'SeparationRecord':
        """Read a record.

        Raises:
            SeparationError: If the file is no separation record of this version.
        """
        try:
            data = json.loads(Path(path).read_text(encoding='utf-8'))
            if data['format'] != FORMAT or data['version'] != VERSION:
                raise SeparationError(
                    f'{path} is {data["format"]} version {data["version"]}; '
                    f'expected {FORMAT} version {VERSION}.'
                )
            measurements = [
                Measurement(one['epoch'], one['iteration'], SeparationProfile.from_dict(one))
                for one in data['measurements']
            ]
            return cls(data['settings'], measurements)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, SeparationError):
                raise
            raise SeparationError(
                f'{path} is not a separation record ({type(error).__name__}: {error}). '
                'Remove it or choose another work directory.'
            ) from error


def format_table(profile: SeparationProfile, before: SeparationProfile | None = None) -> str:
    """Text table of a profile, with the change since an earlier one.

    Args:
        profile: What to show.
        before: An earlier profile of the same layers.
    """
    earlier = {layer.name: layer.index for layer in before.layers} if before else {}
    plural = {'box': 'boxes'}.get(profile.samples, f'{profile.samples}s')
    header = ('layer', 'index', '95 % interval', 'change', 'soft', 'centre', 'chance', plural)
    rows = [
        _row(layer, earlier.get(layer.name)) for layer in profile.layers if layer.index is not None
    ]
    names = [layer.name for layer in profile.layers]
    if before is None:  # no column of changes
        header, *rows = ((*row[:3], *row[4:]) for row in (header, *rows))
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    widths[0] = max(map(len, ['layer', *names]))

    def line(row: Sequence[str]) -> str:
        cells = [f'{cell:>{width}}' for cell, width in zip(row[1:], widths[1:], strict=True)]
        return '  '.join([f'{row[0]:<{widths[0]}}', *cells])

    measured = {row[0]: line(row) for row in rows}
    failed = {
        layer.name: f'{layer.name:<{widths[0]}}  {layer.error}'
        for layer in profile.layers
        if layer.index is None
    }
    return '\n'.join([line(header), *({**measured, **failed}[name] for name in names)])


def _row(layer: LayerSeparation, earlier: float | None) -> tuple[str, ...]:
    low, high = layer.interval
    return (
        layer.name,
        f'{layer.index:.4f}',
        f'{low:.3f} - {high:.3f}',
        '' if earlier is None else f'{layer.index - earlier:+.4f}',
        f'{layer.soft:.4f}',
        f'{layer.center:.4f}',
        f'{layer.chance:.3f}',
        str(layer.num_samples),
    )
