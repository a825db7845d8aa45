from pathlib import Path

import pytest
from mmengine.config import Config

import mmlayerwise  # noqa: F401
from mmlayerwise.engine.hooks import QLSInitHook
from mmlayerwise.registry import HOOKS

CONFIGS = sorted((Path(__file__).parents[2] / 'configs' / 'qls').glob('*.py'))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_the_hook_of_every_config_can_be_built(path):
    cfg = Config.fromfile(path)
    hooks = [HOOKS.build(dict(hook)) for hook in cfg.custom_hooks]
    assert sum(isinstance(hook, QLSInitHook) for hook in hooks) == 1
    assert cfg.model.type.endswith('ImageClassifier')
