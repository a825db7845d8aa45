"""How much of a table is run: presets and what the command line changes of them."""

from dataclasses import asdict, dataclass, field, fields, replace

from mmlayerwise.reproduction.methods import BACKPROPAGATION, forward_method
from mmlayerwise.reproduction.tables import Table, find_table
from mmlayerwise.utils.errors import UserError

DEVICES = ('cpu', 'cuda')
LOSSES = ('hinge', 'soft', 'raw')
CHOICES = {'device': DEVICES, 'forward_loss': LOSSES}


@dataclass(frozen=True)
class Settings:
    """What all runs of a table share; runs with other settings are not compared.

    Attributes:
        subset: Training images (or texts), the first ones; None for all.
        test_subset: Test images (or texts), the first ones; None for all.
        epochs: Epochs of backpropagation.
        batch_size: Images of a batch; None as the config has it.
        image_size: Height and width in pixels; None as the config has it.
        text_length: Characters of a text; None as the config has it.
        width: Factor on the channels.
        learning_rate: Of backpropagation; None as the config has it.
        linear_head: Whether one fully connected layer replaces several.
        forward_epochs: At most so many for a layer that learns forward.
        forward_batch_size: Images of a class-balanced batch while layers learn forward.
        forward_loss: Their loss: ``'hinge'``, ``'soft'``, or ``'raw'``, the lectures'.
        forward_samples: Training samples on which its separation index is measured, at most.
        val_interval: Validate and measure the separation after every so many epochs.
        device: ``'cpu'`` or ``'cuda'``.
    """

    subset: int | None = None
    test_subset: int | None = None
    epochs: int = 200
    batch_size: int | None = None
    image_size: int | None = None
    text_length: int | None = None
    width: float = 1.0
    learning_rate: float | None = None
    linear_head: bool = False
    forward_epochs: int = 30
    forward_batch_size: int = 250
    forward_loss: str = 'hinge'
    forward_samples: int = 2000
    val_interval: int = 5
    device: str = 'cpu'

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in CHOICES:
                choices = CHOICES[one.name]
                if value not in choices:
                    raise UserError(
                        f'{one.name} must be one of {", ".join(choices)}, not {value!r}'
                    )
            elif value is not None and one.type is not bool and not value > 0:
                raise UserError(f'{one.name} must be positive, but is {value}')

    def to_dict(self) -> dict:
        """Plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """Which rows of a table are run, how often and how.

    Attributes:
        table: Name of the table.
        models: Keys of networks.
        datasets: Keys of data sets.
        methods: Keys of methods.
        num_seeds: Seeds 0, 1, ... of every row.
        settings: What all runs share.
    """

    table: str
    models: tuple[str, ...]
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    num_seeds: int
    settings: Settings

    def __post_init__(self) -> None:
        table = find_table(self.table)
        for name in ('models', 'datasets', 'methods'):
            known = getattr(table, name)
            for one in getattr(self, name):
                if one not in known:
                    raise UserError(
                        f'{self.table} has no {name[:-1]} {one!r}; there are: {", ".join(known)}'
                    )
        if self.num_seeds < 1:
            raise UserError(f'seeds must be at least 1, but is {self.num_seeds}')

    def change(self, settings: dict, **rows: object) -> 'Plan':
        """Replace what is given, so that None leaves things as they are.

        Args:
            settings: Values by name of a setting.
            **rows: New values of the plan's other attributes.

        Returns:
            The new plan.
        """
        settings = {name: value for name, value in settings.items() if value is not None}
        rows = {name: value for name, value in rows.items() if value is not None}
        return replace(self, settings=replace(self.settings, **settings), **rows)


@dataclass(frozen=True)
class _Preset:
    settings: Settings
    num_seeds: int = 5
    rows: dict[str, tuple[str, ...]] = field(default_factory=dict)


# VGG's three fully connected layers with dropout do not begin to learn in so few iterations.
_REDUCED_IMAGES = Settings(
    subset=3000,
    test_subset=2000,
    epochs=6,
    batch_size=32,
    image_size=16,
    width=0.25,
    linear_head=True,
    val_interval=2,
)
_REDUCED_FORWARD = replace(
    _REDUCED_IMAGES,
    subset=1500,
    val_interval=3,
    forward_epochs=4,
    forward_batch_size=50,
    forward_loss='raw',
    forward_samples=1000,
)
PRESETS: dict[str, dict[str, _Preset]] = {
    # One core needs less than an hour for a table.
    'reduced': {
        'first-layer': _Preset(
            _REDUCED_IMAGES, rows={'models': ('vgg16',), 'datasets': ('cifar10',)}
        ),
        'forward-layers': _Preset(
            _REDUCED_FORWARD, rows={'methods': tuple(map(forward_method, (0, 1, 2, 4, 13)))}
        ),
        'layer-wise': _Preset(
            replace(
                _REDUCED_FORWARD,
                subset=1000,
                test_subset=1000,
                width=0.125,
                forward_epochs=2,
                forward_samples=500,
            ),
            num_seeds=3,
            rows={'datasets': ('cifar10',), 'methods': (BACKPROPAGATION, 'layer_wise')},
        ),
        'text': _Preset(
            Settings(
                subset=2000,
                test_subset=1000,
                epochs=4,
                batch_size=32,
                text_length=256,
                width=0.25,
                linear_head=True,
                forward_epochs=3,
                forward_batch_size=50,
                forward_samples=500,
                val_interval=2,
            ),
            num_seeds=3,
            rows={'models': ('vdcnn9',), 'datasets': ('ag_news',)},
        ),
    },
    # The data and networks of the lectures with the configs' recipes, for a GPU.
    'full': {
        **dict.fromkeys(('first-layer', 'forward-layers', 'layer-wise'), _Preset(Settings())),
        'text': _Preset(Settings(epochs=15)),
    },
}


def preset_plan(table: str, preset: str) -> Plan:
    """Look up what a preset runs.

    Args:
        table: Name of the table.
        preset: Name of the preset.

    Returns:
        The plan, with all rows that the preset does not restrict.

    Raises:
        UserError: If there is no such table or preset.
    """
    rows: Table = find_table(table)
    if preset not in PRESETS:
        raise UserError(f'there is no preset {preset!r}; there are: {", ".join(PRESETS)}')
    chosen = PRESETS[preset][table]
    every = {name: getattr(rows, name) for name in ('models', 'datasets', 'methods')}
    return Plan(
        table, **{**every, **chosen.rows}, num_seeds=chosen.num_seeds, settings=chosen.settings
    )
