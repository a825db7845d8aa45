"""From a row of the zoo to the model configs under test: the full-size one and a small one."""

from collections.abc import Iterator
from typing import Any

from mmengine import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmlayerwise.datasets.digit_scene_generator import DIGIT_CLASSES, TEXTURE_CLASSES
from mmlayerwise.zoo import ZooModel
from tests.zoo.reductions import Reduction

NUM_THINGS, NUM_STUFF = len(DIGIT_CLASSES), len(TEXTURE_CLASSES)
NUM_SEMANTIC_CLASSES = NUM_THINGS + NUM_STUFF
# Head types of detectors that predict every class per pixel.
_SEMANTIC_HEADS = ('FusedSemanticHead',)
# Backbones whose width of 64 is a default that configs do not repeat.
_RESNETS = ('ResNet', 'ResNetV1c', 'ResNetV1d', 'ResNeXt', 'DetectoRS_ResNet')
# Fewer boxes, so that a step on a small image costs little; no score is too low, so that a barely
# trained model predicts something to check.
_SMALLER = {'nms_pre': 100, 'max_per_img': 50, 'score_thr': 0.0}


def load_config(model: ZooModel) -> Config:
    """Load the config of a row."""
    return Config.fromfile(model.config_path)


def scope_of(config: Config) -> str:
    """The registry scope in which the config's types are looked up."""
    return config.get('default_scope', 'mmengine')


def build(model_config: ConfigDict, scope: str) -> nn.Module:
    """Build a model in the scope of its toolbox."""
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(model_config)


def without_pretraining(config: Config) -> ConfigDict:
    """The model with every downloaded initialisation removed and SyncBN replaced by BN."""
    model = Config(dict(model=config.model)).model
    for node in _dicts(model):
        if 'pretrained' in node:
            node.pretrained = None
        init_cfg = node.get('init_cfg')
        if isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained':
            node.init_cfg = None
        if node.get('type') == 'SyncBN':
            node.type = 'BN'
    return model


def reduce(config: Config, task: str, reduction: Reduction) -> ConfigDict:
    """The same architecture with narrower layers, fewer classes and a small input.

    Args:
        config: The full-size config.
        task: Task of the system, one of ``mmlayerwise.zoo.TASKS``.
        reduction: What is particular to this config.
    """
    model = without_pretraining(config)
    for node in _dicts(model):
        _reduce_classes(node, task)
        _reduce_width(node, reduction.channel_divisor)
        for key in _SMALLER.keys() & node.keys():
            node[key] = min(node[key], _SMALLER[key])
        if node.get('add_gt_as_proposals'):
            # A sampler of regions, not of anchors, which are cheap.
            node.num = min(node.num, 64)
        if node.get('type') in _RESNETS and node.depth > 50:
            node.depth = 50
    preprocessor = model.get('data_preprocessor') or {}
    preprocessor.pop('batch_augments', None)  # multi-scale training
    if 'size' in preprocessor:
        preprocessor['size'] = (reduction.image_size, reduction.image_size)
    small = Config(dict(model=model))
    small.merge_from_dict({f'model.{key}': value for key, value in reduction.deltas.items()})
    return small.model


def _dicts(node: Any) -> Iterator[ConfigDict]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            yield from _dicts(child)


def _reduce_classes(node: ConfigDict, task: str) -> None:
    if 'num_things_classes' in node:
        node.num_things_classes, node.num_stuff_classes = NUM_THINGS, NUM_STUFF
    elif 'num_classes' in node:
        semantic = task == 'sem' or node.get('type') in _SEMANTIC_HEADS
        node.num_classes = NUM_SEMANTIC_CLASSES if semantic else NUM_THINGS


def _reduce_width(node: ConfigDict, divisor: int) -> None:
    if divisor == 1:
        return
    if node.get('type') in _RESNETS:
        node.setdefault('base_channels', 64)
    for key, value in node.items():
        if key.endswith('channels'):
            node[key] = _divide(value, divisor)
    if 'widen_factor' in node:
        node.widen_factor /= divisor


def _divide(value: Any, divisor: int) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_divide(item, divisor) for item in value)
    return value // divisor if isinstance(value, int) and value >= 32 else value
