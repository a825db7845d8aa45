"""Where the stages of a backbone are, and how it is left with the first ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from mmlayerwise.compression.errors import CompressionError


@dataclass(frozen=True)
class Place:
    """The last unit that stays.

    Attributes:
        stage: Number of its stage, as ``out_indices`` counts them.
        unit: Number of the unit in the stage; None: the whole stage stays.
    """

    stage: int
    unit: int | None = None


def keep_outputs(backbone: nn.Module, last: int) -> None:
    """Let a backbone return what is left of its stages.

    Args:
        backbone: With ``out_indices``.
        last: Number of the last stage that stays; it stands in for those behind it.
    """
    outputs = tuple(backbone.out_indices)
    kept = [index for index in outputs if index < last]
    if any(index >= last for index in outputs):
        kept.append(last)
    backbone.out_indices = tuple(kept)


def find_place(stages: Sequence[str], layer: str, backbone: nn.Module) -> Place:
    """Find the stage and unit that a layer is in.

    Args:
        stages: Names of the stages, in execution order.
        layer: Name of a module of the backbone.
        backbone: The backbone.

    Raises:
        CompressionError: If it is in no stage.
    """
    for number, stage in enumerate(stages):
        if layer == stage:
            return Place(number)
        if layer.startswith(f'{stage}.'):
            unit = layer[len(stage) + 1 :].split('.')[0]
            names = [name for name, _ in backbone.get_submodule(stage).named_children()]
            sequential = isinstance(backbone.get_submodule(stage), nn.Sequential)
            return Place(number, names.index(unit) if sequential and unit in names else None)
    raise CompressionError(
        f'{type(backbone).__name__} cannot be cut behind {layer!r}, which is in none of its '
        f'stages ({", ".join(stages)}); the first unit of the first one has to stay'
    )


def keep_units(stage: nn.Module, unit: int | None) -> None:
    """Remove the units of a stage behind one of them; None keeps all."""
    if unit is None:
        return
    # By name: a deleted slice renames what stays, DenseNet's `layer3` to `3`.
    for name in [name for name, _ in stage.named_children()][unit + 1 :]:
        delattr(stage, name)


def named_stages(
    attribute: str, frozen_through: bool = False
) -> Callable[[nn.Module, str], nn.Module]:
    """Make the rule for backbones that list the names of their stages in an attribute.

    Args:
        attribute: The attribute, such as ``res_layers``.
        frozen_through: Whether ``frozen_stages`` is the number of the last frozen stage, and not
            how many are frozen.
    """

    def truncate(backbone: nn.Module, layer: str) -> nn.Module:
        stages = list(getattr(backbone, attribute))
        place = find_place(stages, layer, backbone)
        keep_units(getattr(backbone, stages[place.stage]), place.unit)
        for name in stages[place.stage + 1 :]:
            delattr(backbone, name)
        setattr(backbone, attribute, stages[: place.stage + 1])
        return _finished(backbone, place.stage, frozen_through)

    return truncate


def listed_stages(attribute: str) -> Callable[[nn.Module, str], nn.Module]:
    """Make the rule for backbones whose stages are the items of a ``ModuleList``.

    Args:
        attribute: The list, such as ``stages``.
    """

    def truncate(backbone: nn.Module, layer: str) -> nn.Module:
        stages = getattr(backbone, attribute)
        names = [f'{attribute}.{number}' for number in range(len(stages))]
        place = find_place(names, layer, backbone)
        keep_units(stages[place.stage], place.unit)
        del stages[place.stage + 1 :]
        return _finished(backbone, place.stage)

    return truncate


def fixed_stages(*stages: str) -> Callable[[nn.Module, str], nn.Module]:
    """Make the rule for backbones whose forward pass names its stages: later ones become empty.

    Args:
        *stages: Names of the stages, sequential modules.
    """

    def truncate(backbone: nn.Module, layer: str) -> nn.Module:
        place = find_place(stages, layer, backbone)
        keep_units(getattr(backbone, stages[place.stage]), place.unit)
        for name in stages[place.stage + 1 :]:
            setattr(backbone, name, nn.Sequential())
        return _finished(backbone, place.stage)

    return truncate


def _finished(backbone: nn.Module, last: int, frozen_through: bool = False) -> nn.Module:
    keep_outputs(backbone, last)
    if hasattr(backbone, 'num_stages'):
        backbone.num_stages = last + 1
    if hasattr(backbone, 'frozen_stages'):
        most = last if frozen_through else last + 1
        backbone.frozen_stages = min(backbone.frozen_stages, most)
    return backbone
