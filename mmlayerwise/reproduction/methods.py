"""What the tables compare, as changes of a config."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmengine.config import Config

if TYPE_CHECKING:
    from mmlayerwise.reproduction.settings import Settings

BACKPROPAGATION = 'backpropagation'
# VGG-16 has so many convolutions.
MOST_FORWARD_LAYERS = 13
# The separation index saturates on more, and neighbours take the square of their number.
MOST_SAMPLES = 2000

Change = Callable[[Config, 'Settings'], None]


@dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes:
        title: Name in the tables.
        apply: Changes a config in place, by the settings of the run.
    """

    title: str
    apply: Change


def forward_method(num_layers: int) -> str:
    """The key of learning so many layers forward; of none it is backpropagation."""
    return f'forward_{num_layers}' if num_layers else BACKPROPAGATION


def _plain(cfg: Config, settings: 'Settings') -> None:
    """Leave the config as it is."""


def _qls(**options: Any) -> Change:
    def apply(cfg: Config, settings: 'Settings') -> None:
        hook = dict(
            type='mmlayerwise.QLSInitHook',
            num_samples=min(settings.subset or MOST_SAMPLES, MOST_SAMPLES),
            seed=cfg.randomness.seed,
            **options,
        )
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), hook]

    return apply


def _forward(num_layers: int | str, freeze: bool) -> Change:
    def apply(cfg: Config, settings: 'Settings') -> None:
        cfg.train_cfg.update(
            type='mmlayerwise.LayerwiseTrainLoop',
            num_forward_layers=num_layers,
            freeze=freeze,
            batch_size=settings.forward_batch_size,
            loss=dict(type=f'mmlayerwise.{settings.forward_loss.title()}TripletLoss'),
            num_samples=min(settings.subset or MOST_SAMPLES, settings.forward_samples),
            seed=cfg.randomness.seed,
            stop=dict(type='mmlayerwise.SeparationStopRule', max_epochs=settings.forward_epochs),
        )

    return apply


METHODS: dict[str, Method] = {
    BACKPROPAGATION: Method('backpropagation', _plain),
    'eigenvectors': Method('eigenvectors only', _qls(step=None)),
    'qls_frozen': Method('QLS, frozen', _qls(freeze=True)),
    'qls_fine_tuned': Method('QLS, fine-tuned', _qls()),
    'layer_wise': Method('layer-wise, frozen', _forward('all', freeze=True)),
    'layer_wise_fine_tuned': Method('layer-wise, fine-tuned', _forward('all', freeze=False)),
    **{
        forward_method(number): Method(
            f'{number} layer{"s" * (number > 1)} forward', _forward(number, freeze=True)
        )
        for number in range(1, MOST_FORWARD_LAYERS + 1)
    },
}
