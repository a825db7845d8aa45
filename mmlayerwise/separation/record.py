"""The profiles of a training run in one JSON file, ``separation.json``.

``separation.schema.json`` beside this module describes the file.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.profile import SeparationProfile
from mmlayerwise.utils.files import write_atomically

FORMAT = 'mmlayerwise.separation'
# Grows when a field goes or changes its meaning. Fields may be added to a version: readers leave
# out what they don't know.
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
            if data['format'] != FORMAT:
                raise SeparationError(f'{path} is {data["format"]!r}; expected {FORMAT!r}.')
            if data['version'] != VERSION:
                raise SeparationError(
                    f'{path} is a separation record of version {data["version"]}; this mmlayerwise '
                    f'reads version {VERSION}. Use the mmlayerwise that wrote it, or another work '
                    'directory.'
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
