"""The toolboxes' own interfaces for inference take a compressed model's config and weights."""

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmlayerwise.compression import apply_plan
from tests.test_compression.architectures import model_config, shaken
from tests.test_compression.test_apply import halving_plan
from tests.zoo.configs import build


@pytest.fixture
def compressed(tmp_path):
    """Config and weights on disk of a row of the harness."""

    def write(name: str, pipeline: list[dict]) -> tuple[Config, str]:
        config, scope = model_config(name)
        model = shaken(build(config, scope))
        plan = halving_plan(model, (64, 64))
        apply_plan(model, plan, (64, 64))
        weights = str(tmp_path / 'weights.pth')
        torch.save(dict(meta={}, state_dict=model.state_dict()), weights)
        whole = Config(
            dict(
                default_scope=scope,
                custom_imports=dict(imports=['mmlayerwise']),
                model=config,
                test_pipeline=pipeline,
                test_dataloader=dict(dataset=dict(pipeline=pipeline)),
            )
        )
        kind = 'mmlayerwise.CompressedModel'
        changes = dict(type=kind, model=dict(type=config.type), plan=plan.to_dict())
        whole.merge_from_dict(dict(model=changes))
        return whole, weights

    return write


def test_mmdet(compressed):
    from mmdet.apis import inference_detector, init_detector

    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(64, 64)),
        dict(type='PackDetInputs', meta_keys=('img_shape', 'ori_shape', 'scale_factor')),
    ]
    config, weights = compressed('retinanet', pipeline)
    detector = init_detector(config, weights, device='cpu', palette='random')
    assert detector.backbone.conv1.out_channels == 8
    result = inference_detector(detector, np.zeros((48, 64, 3), np.uint8))
    assert result.pred_instances.bboxes.shape[1] == 4


def test_mmseg(compressed):
    from mmseg.apis import inference_model, init_model

    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(64, 64), keep_ratio=False),
        dict(type='PackSegInputs'),
    ]
    config, weights = compressed('unet', pipeline)
    segmentor = init_model(config, weights, device='cpu')
    result = inference_model(segmentor, np.zeros((48, 64, 3), np.uint8))
    assert result.pred_sem_seg.data.shape == (1, 48, 64)
