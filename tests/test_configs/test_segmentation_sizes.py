"""Images of awkward sizes: predicted at their own size, or refused with the sizes that work."""

import copy

import pytest
import torch
from mmengine.registry import DefaultScope

pytest.importorskip('mmseg')

from mmseg.structures import SegDataSample

from mmlayerwise.utils.errors import UserError
from mmlayerwise.zoo import load_zoo
from tests.zoo.configs import build, load_config, reduce, scope_of
from tests.zoo.reductions import reduction_for

MODELS = {model.name: model for system in load_zoo() for model in system.models}
FCN_PADDED, FCN_ALIGNED = (
    'fcn-8s_vgg16_1xb20-80k_voc12aug-512x512',
    'fcn-8s_vgg16_1xb4-40k_camvid-352x352',
)
SEGNET = 'segnet_vgg16-bn_1xb12-40k_camvid-480x360'
DECONVNET = 'deconvnet_vgg16-bn_1xb16-40k_camvid-224x224'
PARSENET = 'parsenet-early_vgg16_1xb4-40k_camvid-352x352'
GCN = 'gcn_r50_1xb4-40k_camvid-352x352'
CLASSIC_UNET = 'unet-classic_1xb2-40k_camvid-540x540'
SIMPLE_UNET = 'unet-16-64_1xb8-40k_camvid-352x352'


def predict(name: str, size: tuple[int, int]) -> SegDataSample:
    torch.manual_seed(0)
    config = load_config(MODELS[name])
    model_config = reduce(config, 'sem', reduction_for(name, 'sem'))
    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size))
    batch = dict(inputs=[torch.randint(256, (3, *size), dtype=torch.uint8)], data_samples=[sample])
    with DefaultScope.overwrite_default_scope(scope_of(config)):
        model = build(copy.deepcopy(model_config), scope_of(config)).eval()
        with torch.no_grad():
            (prediction,) = model.test_step(batch)
    return prediction


@pytest.mark.parametrize(
    ('name', 'size'),
    [
        (name, size)
        for name in (FCN_PADDED, FCN_ALIGNED, SEGNET, PARSENET, GCN, CLASSIC_UNET)
        for size in ((61, 83), (97, 64), (33, 35))
    ]
    + [
        (DECONVNET, (61, 83)),
        (DECONVNET, (97, 64)),
        (SIMPLE_UNET, (61, 83)),
        (SIMPLE_UNET, (5, 7)),
    ],
)
def test_odd_sizes_are_predicted_in_full(name, size):
    prediction = predict(name, size)
    assert prediction.seg_logits.data.shape[1:] == size
    assert prediction.pred_sem_seg.data.shape == (1, *size)
    assert prediction.seg_logits.data.isfinite().all()


def test_fully_connected_layers_refuse_images_that_they_do_not_fit_into():
    # The reduced fc6 has 2x2 filters, which take two pixels of the last pooling.
    with pytest.raises(UserError, match=r'60x20 pixels.*at least 33x33'):
        predict(DECONVNET, (20, 60))


def test_the_classic_unet_names_the_sizes_of_training_tiles():
    config = load_config(MODELS[CLASSIC_UNET])
    model_config = reduce(config, 'sem', reduction_for(CLASSIC_UNET, 'sem'))
    with DefaultScope.overwrite_default_scope('mmseg'):
        backbone = build(model_config.backbone, 'mmseg')
    with pytest.raises(UserError, match=r'in steps of 4 pixels, but got 61x83; crop'):
        backbone(torch.zeros(1, 3, 61, 83))
