"""The small form of a config of the zoo, a run of it on scenes of digits, and its compression."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config, ConfigDict
from torch import nn

from mmlayerwise.compression import removal
from mmlayerwise.compression.settings import PlannerSettings
from mmlayerwise.engine.compression import Compressed, CompressionOptions, compress
from mmlayerwise.zoo import load_zoo
from tests.test_tools.tools import ROOT
from tests.zoo.configs import build, load_config, reduce, scope_of
from tests.zoo.reductions import reduction_for

MODELS = {model.name: model for system in load_zoo() for model in system.models}


@dataclass
class Small:
    """The small form of a config.

    Attributes:
        model: Config of the model.
        scope: Where its types are looked up.
        side: Height and width of the images.
    """

    model: ConfigDict
    scope: str
    side: int

    @classmethod
    def of(cls, name: str, task: str, **more: Any) -> 'Small':
        """That of a config in the zoo, as the zoo test has it.

        Args:
            name: Of the config.
            task: Of the system, one of ``mmlayerwise.zoo.TASKS``.
            more: Further attributes.
        """
        config, reduction = load_config(MODELS[name]), reduction_for(name, task)
        model = reduce(config, task, reduction)
        return cls(model, scope_of(config), reduction.image_size, **more)

    @property
    def size(self) -> tuple[int, int]:
        """Of the images."""
        return self.side, self.side

    def build(self) -> nn.Module:
        """Another one of the same structure."""
        return build(copy.deepcopy(self.model), self.scope)

    def images(self) -> torch.Tensor:
        """Random images in double precision."""
        generator = torch.Generator().manual_seed(1)
        return torch.randn(1, 3, *self.size, generator=generator, dtype=torch.float64)

    def run_config(self, dataset: str, work_dir: Path, **scenes: Any) -> Config:
        """One training step and one validation on a few scenes.

        Args:
            dataset: Base config of the scenes, in ``configs/_base_/datasets``.
            work_dir: Of the run.
            scenes: Arguments of the scenes.
        """
        cfg = Config.fromfile(ROOT / 'configs/_base_/datasets' / dataset)
        scenes = dict(num_scenes=6, image_size=self.size) | scenes
        for split in ('train', 'val'):
            cfg[f'{split}_dataloader'].update(batch_size=2, num_workers=0, persistent_workers=False)
            cfg[f'{split}_dataloader'].dataset.update(scenes)
        cfg.test_dataloader = copy.deepcopy(cfg.val_dataloader)
        cfg.update(
            model=copy.deepcopy(self.model),
            default_scope=self.scope,
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=1, val_interval=1),
            val_cfg=dict(type='ValLoop'),
            test_cfg=dict(type='TestLoop'),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)),
            default_hooks=dict(checkpoint=None),
            custom_hooks=[
                dict(type='mmlayerwise.QLSInitHook', num_samples=24, epochs=1, max_positions=64),
                dict(type='mmlayerwise.SeparationHook', max_samples=60),
            ],
            work_dir=str(work_dir),
            launcher='none',
            log_level='ERROR',
        )
        return cfg


def compress_run(cfg: Config, model: nn.Module, budget: float) -> Compressed:
    """Compress what a run has trained, as ``tools/compress.py --criterion magnitude`` does.

    Args:
        cfg: Config of the run. Its work directory gets ``config.py`` and ``weights.pth``, and the
            smaller model in the folder ``compressed``.
        model: The trained model.
        budget: Share of the FLOPs that may stay.
    """
    folder = Path(cfg.work_dir)
    config, checkpoint = folder / 'config.py', folder / 'weights.pth'
    cfg = copy.deepcopy(cfg)
    cfg.custom_hooks = []
    config.write_text('\n'.join(f'{key} = {value!r}' for key, value in cfg.to_dict().items()))
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, checkpoint)
    settings = PlannerSettings(criterion='magnitude', budget=budget)
    options = CompressionOptions(max_samples=60, test=False)
    with pytest.MonkeyPatch.context() as patch:
        # A share that meets the budget is enough, it need not be the smallest.
        patch.setattr(removal, '_HALVINGS', 1)
        return compress(
            Config.fromfile(config),
            str(config),
            str(checkpoint),
            folder / 'compressed',
            settings,
            options,
        )


def load_compressed(cfg: Config, scope: str) -> nn.Module:
    """Build the smaller model of :func:`compress_run` from its files.

    Args:
        cfg: Config of the run.
        scope: Where its types are looked up.
    """
    folder = Path(cfg.work_dir, 'compressed')
    model = build(Config.fromfile(folder / 'config.py').model, scope)
    model.load_state_dict(torch.load(folder / 'weights.pth', weights_only=True)['state_dict'])
    return model.eval()
