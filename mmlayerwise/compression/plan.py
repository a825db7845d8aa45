"""What a compression takes away and why, as readable JSON.

A plan is made for one model and kept apart from it: :mod:`mmlayerwise.compression.apply` carries it
out on any model of the same structure, whatever its weights.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.utils.files import write_atomically

FORMAT = 'mmlayerwise.compression_plan'
VERSION = 1


@dataclass
class Step:
    """One decision: what goes, and what that does to the index.

    Attributes:
        kind: ``'cut'`` (the layers behind ``module``), ``'channels'`` (of ``module``) or ``'head'``
            (a new fully connected part).
        module: Name of the layer or module.
        kept: How many layers, output channels or hidden units stay.
        total: How many there were.
        index_layer: Layer at which the index was measured, or ``'accuracy'`` of a held-out share.
        before: Index before the step.
        after: Index after the step.
        interval: 95 % Wilson interval of ``after``.
        gain: Mean paired difference of the samples, after less before.
        standard_error: Its standard error.
        significant: Whether the difference is larger than the threshold of the test.
        note: What a reader should know besides.
    """

    kind: str
    module: str
    kept: int
    total: int
    index_layer: str
    before: float
    after: float
    interval: tuple[float, float]
    gain: float = 0.0
    standard_error: float = 0.0
    significant: bool = False
    note: str = ''


@dataclass
class Cost:
    """What a model costs.

    Attributes:
        parameters: Number of parameters.
        flops: Multiply-adds of one image; None where they could not be counted.
        bytes: Size of the tensors of the state dict.
    """

    parameters: int
    flops: float | None
    bytes: int


@dataclass
class Savings:
    """Cost of the model before and after.

    Attributes:
        before: Of the original.
        after: Of the compressed model.
    """

    before: Cost
    after: Cost

    def kept(self, kind: str) -> float | None:
        """Share of ``'parameters'``, ``'flops'`` or ``'bytes'`` that stays; None if not counted."""
        before, after = getattr(self.before, kind), getattr(self.after, kind)
        return None if not before or after is None else after / before


@dataclass
class CompressionPlan:
    """What goes from a model.

    Attributes:
        fingerprint: Of the model the plan was made for, see :func:`fingerprint`.
        cut: The last layer that stays, by the measure's layer names; None keeps all layers.
        channels: Name of a convolution or linear module -> its output channels that stay,
            ascending. What depends on them (normalisations, sums, readers) follows.
        head: The new fully connected part of a classifier: ``hidden`` (widths of its hidden
            layers, maybe none), ``dropout`` and ``pool`` (side of the grid that the maps are
            averaged to before they are flattened; None flattens them as they are). None keeps the
            model's own.
        steps: Why, in the order of the decisions.
        savings: What it saves, once that is known.
        settings: How the plan was made, for the reader.
        version: Of the format.
    """

    fingerprint: str
    cut: str | None = None
    channels: dict[str, list[int]] = field(default_factory=dict)
    head: dict[str, Any] | None = None
    steps: list[Step] = field(default_factory=list)
    savings: Savings | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    version: int = VERSION

    @property
    def empty(self) -> bool:
        """Whether nothing goes."""
        return self.cut is None and not self.channels and self.head is None

    def check_model(self, model: nn.Module | Mapping[str, Tensor]) -> None:
        """Make sure that the plan was made for a model of this structure.

        Raises:
            CompressionError: If it was not.
        """
        found = fingerprint(model)
        if found != self.fingerprint:
            raise CompressionError(
                f'The plan was made for another model: its parameters have the fingerprint '
                f'{self.fingerprint[:12]}, those of this model {found[:12]}. Use the config that '
                'the plan was made with, or make a new plan by tools/compress.py'
            )

    def instructions(self) -> dict[str, Any]:
        """Only what has to be known to carry the plan out, without the reasons."""
        return {
            'version': self.version,
            'fingerprint': self.fingerprint,
            'cut': self.cut,
            'channels': self.channels,
            'head': self.head,
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain lists, dicts and numbers."""
        return {'format': FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> 'CompressionPlan':
        """Read what :meth:`to_dict` or :meth:`instructions` made.

        Raises:
            CompressionError: If keys or values are not those of a plan of this version.
        """
        try:
            found, version = data.get('format', FORMAT), data.get('version', VERSION)
            if found != FORMAT or version != VERSION:
                raise CompressionError(
                    f'The plan is {found} version {version}; expected {FORMAT} version {VERSION}'
                )
            head, savings = data.get('head'), data.get('savings')
            plan = cls(
                fingerprint=str(data['fingerprint']),
                cut=data.get('cut'),
                channels={name: _ascending(name, kept) for name, kept in data['channels'].items()},
                head=None if head is None else {**head, 'hidden': list(head['hidden'])},
                steps=[_step(one) for one in data.get('steps', ())],
                savings=savings and Savings(Cost(**savings['before']), Cost(**savings['after'])),
                settings=dict(data.get('settings', {})),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, CompressionError):
                raise
            raise CompressionError(
                f'This is no compression plan ({type(error).__name__}: {error}); expected what '
                'tools/compress.py writes to plan.json'
            ) from error
        return plan

    def save(self, path: str | os.PathLike) -> None:
        """Write readable JSON, whole or not at all."""
        with write_atomically(path) as temporary:
            temporary.write_text(self.to_json() + '\n', encoding='utf-8')

    def to_json(self) -> str:
        """Readable JSON: one line for each module's channels and for each step."""
        parts = []
        for name, value in self.to_dict().items():
            if name == 'channels':
                text = _lines('{}', [f'{json.dumps(one)}: {kept}' for one, kept in value.items()])
            elif name == 'steps':
                text = _lines('[]', [json.dumps(one, allow_nan=False) for one in value])
            else:
                text = json.dumps(value, indent=1, allow_nan=False).replace('\n', '\n ')
            parts.append(f' {json.dumps(name)}: {text}')
        return '{\n' + ',\n'.join(parts) + '\n}'

    @classmethod
    def load(cls, path: str | os.PathLike) -> 'CompressionPlan':
        """Read a plan.

        Raises:
            CompressionError: If the file is no plan of this version.
        """
        try:
            data = json.loads(Path(path).read_text(encoding='utf-8'))
        except (OSError, ValueError) as error:
            raise CompressionError(f'{path} is no readable JSON file ({error})') from error
        try:
            return cls.from_dict(data)
        except CompressionError as error:
            raise CompressionError(f'{path}: {error}') from error


def fingerprint(model: nn.Module | Mapping[str, Tensor]) -> str:
    """SHA-256 of the names and shapes in a model's state dict: the same for any weights.

    Args:
        model: The model, or its state dict.

    Returns:
        64 hexadecimal digits.
    """
    state = model.state_dict() if isinstance(model, nn.Module) else model
    shapes = sorted((name, list(value.shape)) for name, value in state.items())
    return hashlib.sha256(json.dumps(shapes).encode()).hexdigest()


def _ascending(name: str, kept: Any) -> list[int]:
    channels = [int(channel) for channel in kept]
    if not channels or channels != sorted(set(channels)) or channels[0] < 0:
        raise CompressionError(
            f'The channels of {name!r} that stay must be ascending numbers from 0, at least one; '
            f'got {channels[:8]}'
        )
    return channels


def _step(data: Mapping[str, Any]) -> Step:
    return Step(**{**data, 'interval': tuple(data['interval'])})


def _lines(brackets: str, parts: list[str]) -> str:
    if not parts:
        return brackets
    return f'{brackets[0]}\n  ' + ',\n  '.join(parts) + f'\n {brackets[1]}'
