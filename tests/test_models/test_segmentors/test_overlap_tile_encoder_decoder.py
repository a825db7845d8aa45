import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS

from mmlayerwise.utils.errors import UserError

pytest.importorskip('mmseg')
from mmlayerwise.models.segmentors.overlap_tile_encoder_decoder import mirror_pad


def make_segmentor(test_cfg: dict, **kwargs):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='mmlayerwise.OverlapTileEncoderDecoder',
            backbone=dict(type='mmlayerwise.UNetClassic', base_channels=4, num_stages=3),
            decode_head=dict(
                type='mmlayerwise.UNetClassicHead',
                in_channels=4,
                num_classes=3,
                dropout_ratio=0.0,
                loss_decode=dict(type='mmseg.CrossEntropyLoss'),
            ),
            train_cfg=dict(),
            test_cfg=ConfigDict(test_cfg),
            **kwargs,
        )
    ).double()


METAINFO = [dict(ori_shape=(50, 37), img_shape=(50, 37))]


@pytest.mark.parametrize('size', [(50, 37), (8, 5), (1, 3)])
def test_images_are_continued_by_mirroring(size):
    image = torch.arange(size[0] * size[1]).reshape(1, 1, *size)
    padded = mirror_pad(image, (11, 30), (40, 3))
    expected = np.pad(image[0, 0].numpy(), ((11, 30), (40, 3)), mode='reflect')
    assert np.array_equal(padded[0, 0].numpy(), expected)


@torch.no_grad()
def test_tiles_give_what_the_whole_image_gives():
    # With three stages output tiles begin on the grid of the poolings.
    image = torch.randn(2, 3, 50, 37, dtype=torch.float64)
    whole = make_segmentor(dict(mode='whole')).eval().inference(image, METAINFO)
    tiled = make_segmentor(dict(mode='slide', crop_size=(16, 20))).eval()
    assert whole.shape == (2, 3, 50, 37)
    torch.testing.assert_close(tiled.inference(image, METAINFO), whole)


@torch.no_grad()
def test_a_pixel_far_from_the_border_sees_the_image_alone():
    model = make_segmentor(dict(mode='whole')).eval()
    margin = model.backbone.margin
    side = model.backbone.output_size_for(9) + 2 * margin
    image = torch.randn(1, 3, side, side, dtype=torch.float64)
    valid = model.decode_head(model.backbone(image))
    # The mirrored margin has to begin on the grid of the poolings to give the same.
    assert margin % 4 == 0
    logits = model.inference(image, [dict(ori_shape=(side, side), img_shape=(side, side))])
    torch.testing.assert_close(logits[..., margin:-margin, margin:-margin], valid)


def test_training_learns_the_middle_unless_mirrored():
    image = torch.randn(1, 3, 60, 60, dtype=torch.float64)
    middle = make_segmentor(dict(mode='whole')).train().extract_feat(image)[0]
    assert middle.shape[-2:] == (20, 20)
    every = make_segmentor(dict(mode='whole'), mirror_in_training=True).train()
    assert every.extract_feat(image)[0].shape[-2:] == (60, 60)


def test_a_training_tile_that_does_not_fit_is_explained():
    with pytest.raises(UserError, match=r'got 63x60; .*mirror_in_training=True'):
        make_segmentor(dict(mode='whole')).train().extract_feat(torch.zeros(1, 3, 63, 60).double())


def test_an_output_tile_that_does_not_fit_is_explained():
    with pytest.raises(UserError, match=r'crop_size is \(17, 20\), .* larger one is \(20, 20\)'):
        make_segmentor(dict(mode='slide', crop_size=(17, 20)))
