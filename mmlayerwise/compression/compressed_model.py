"""A compressed model as an ordinary entry of a config."""

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import ConfigDict
from torch import nn

from mmlayerwise.compression.apply import apply_plan
from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.compression.plan import CompressionPlan
from mmlayerwise.registry import MODELS

Plan = Mapping[str, Any] | str | os.PathLike | CompressionPlan


@MODELS.register_module(name='CompressedModel')
def build_compressed_model(
    model: Mapping[str, Any],
    plan: Plan | Sequence[Plan],
    input_size: Sequence[int] | None = None,
    **overrides: Any,
) -> nn.Module:
    """Build a model and make it smaller at once.

    What is returned is the user's detector, segmentor or classifier itself with fewer layers and
    channels, into which the state dict of the compressed model loads strictly. Its weights are the
    initial ones; those of pre-training don't fit and are left out.

    In a config that inherits the original one, the parts of the original can stay where they are,
    so that tools and interfaces that look for ``model.backbone`` find it::

        _base_ = './original.py'
        model = dict(
            type='mmlayerwise.CompressedModel', model=dict(type='RetinaNet'), plan='plan.json'
        )

    Args:
        model: Config of the original model, or of another compressed one.
        plan: What goes: a :class:`~mmlayerwise.compression.CompressionPlan` as a dict or as the
            path of its JSON file. Several plans are carried out one after another, each made for
            the model that the one before left.
        input_size: Height and width of an image that the model takes, the number of channels in
            front if it is neither 3 nor 1; by default the smallest common size. Has to be given
            where a plan flattens feature maps.
        **overrides: Further keys of the model's config, such as ``data_preprocessor``.

    Returns:
        The smaller model.

    Raises:
        CompressionError: If a plan does not belong to the model.
    """
    config = ConfigDict(copy.deepcopy(dict(model)))
    # Not `update`, which would convert values that are no configs.
    for key, value in overrides.items():
        config[key] = value
    if 'type' not in config:
        raise CompressionError(
            'CompressedModel got a `model` without `type`; give the type of the original model, as '
            "in model=dict(type='RetinaNet')"
        )
    if config.get('pretrained') is not None:
        config.pretrained = None
    built = MODELS.build(config)
    _forget_pretraining(built)
    plans = [plan] if isinstance(plan, str | os.PathLike | Mapping | CompressionPlan) else plan
    for one in plans:
        apply_plan(built, _read(one), input_size)
    return built


def _read(plan: Plan) -> CompressionPlan:
    if isinstance(plan, CompressionPlan):
        return plan
    if isinstance(plan, Mapping):
        return CompressionPlan.from_dict(plan)
    return CompressionPlan.load(plan)


def _forget_pretraining(model: nn.Module) -> None:
    """Keep ``init_weights`` from loading weights of the original's shapes."""
    for module in model.modules():
        init_cfg = getattr(module, 'init_cfg', None)
        if isinstance(init_cfg, Mapping):
            module.init_cfg = None if _loads(init_cfg) else init_cfg
        elif isinstance(init_cfg, list | tuple):
            module.init_cfg = [one for one in init_cfg if not _loads(one)] or None


def _loads(init_cfg: Mapping[str, Any]) -> bool:
    return init_cfg.get('type') == 'Pretrained'
