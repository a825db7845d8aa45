import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.registry import MODELS

from mmlayerwise.utils.errors import UserError

pytest.importorskip('mmseg')
from mmseg.models.decode_heads.decode_head import BaseDecodeHead

from mmlayerwise.models.segmentors import ProposalEncoderDecoder


class Passing(BaseModule):
    """A backbone that passes the image on."""

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor]:
        return (inputs,)


class Colours(BaseDecodeHead):
    """A head whose scores are the colours, less those of grey."""

    def forward(self, inputs: tuple[torch.Tensor]) -> torch.Tensor:
        return inputs[0] - 0.5


@pytest.fixture(autouse=True)
def registered():
    for module in (Passing, Colours):
        MODELS.register_module(module=module)
    yield
    for module in (Passing, Colours):
        MODELS.module_dict.pop(module.__name__)


def make_segmentor(**test_cfg) -> ProposalEncoderDecoder:
    return ProposalEncoderDecoder(
        backbone=dict(type='Passing'),
        decode_head=dict(
            type='Colours',
            in_channels=3,
            channels=3,
            num_classes=3,
            loss_decode=dict(type='mmseg.CrossEntropyLoss'),
        ),
        train_cfg=dict(),
        test_cfg=ConfigDict({'mode': 'proposals', 'min_size': 0, 'context': 1.0, **test_cfg}),
    ).eval()


def predict(model: ProposalEncoderDecoder, image: torch.Tensor, *proposals: list) -> torch.Tensor:
    metas = [
        dict(ori_shape=tuple(image.shape[2:]), img_shape=tuple(image.shape[2:]), proposals=boxes)
        for boxes in proposals
    ]
    return model.inference(image, metas)


@pytest.mark.parametrize(('aggregation', 'batch_size'), [('max', 10), ('max', 1), ('mean', 2)])
def test_scores_of_proposals_are_put_together(aggregation, batch_size):
    torch.manual_seed(0)
    # Windows of the network's size, so that nothing is interpolated.
    image = torch.rand(1, 3, 12, 16)
    model = make_segmentor(crop_size=(4, 6), aggregation=aggregation, batch_size=batch_size)
    boxes = [(0, 0, 6, 4), (3, 2, 9, 6), (10, 8, 16, 12)]
    maps = torch.zeros(len(boxes), 3, 12, 16)
    for one, (x1, y1, x2, y2) in zip(maps, boxes, strict=True):
        one[:, y1:y2, x1:x2] = image[0, :, y1:y2, x1:x2] - 0.5
    # Maps are zero outside of their proposals; the released code starts from zeros, too.
    expected = maps.max(0).values.clamp(min=0) if aggregation == 'max' else maps.mean(0)
    actual = predict(model, image, np.array(boxes))
    torch.testing.assert_close(actual[0], expected)
    assert (aggregation == 'mean') == bool((actual < 0).any())


def test_proposals_are_scaled_to_the_network_and_back():
    rows = torch.linspace(0.6, 1, 40)[:, None].expand(40, 30)
    image = torch.stack([rows, rows.flip(0), torch.full_like(rows, 0.8)])[None]
    model = make_segmentor(crop_size=(20, 20))
    sizes = []
    model.backbone.register_forward_hook(lambda _m, inputs, _o: sizes.append(inputs[0].shape))
    scores = predict(model, image, [(0, 0, 30, 40)])
    assert sizes == [(1, 3, 20, 20)]
    small = F.interpolate(image, (20, 20), mode='bilinear')
    expected = F.interpolate(small - 0.5, (40, 30), mode='bilinear')
    torch.testing.assert_close(scores, expected)


def test_surroundings_beyond_the_image_are_of_the_mean_colour():
    image = torch.ones(1, 3, 10, 10)
    model = make_segmentor(crop_size=(12, 12), context=1.2)
    seen = []
    model.backbone.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0][0]))
    scores = predict(model, image, [(0, 0, 10, 10)])
    expected = torch.zeros(3, 12, 12)
    expected[:, 1:-1, 1:-1] = 1
    assert torch.equal(seen[0], expected)
    assert torch.equal(scores, torch.full((1, 3, 10, 10), 0.5))


def test_small_and_surplus_proposals_are_left_out():
    image = torch.ones(1, 3, 40, 40)
    model = make_segmentor(crop_size=(10, 10), min_size=10, max_proposals=2)
    boxes = [(0, 0, 9, 30), (0, 0, 10, 10), (20, 20, 30, 30), (0, 30, 10, 40)]
    scores = predict(model, image, boxes)
    expected = torch.zeros(40, 40)
    expected[:10, :10] = expected[20:30, 20:30] = 0.5
    assert torch.equal(scores[0, 0], expected)


def test_each_image_has_its_own_proposals():
    image = torch.ones(2, 3, 20, 20)
    scores = predict(make_segmentor(crop_size=(8, 8)), image, [(0, 0, 8, 8)], np.zeros((0, 4)))
    assert scores[0].any()
    assert not scores[1].any()


def test_other_modes_are_mmsegs():
    image = torch.rand(1, 3, 8, 9)
    scores = predict(make_segmentor(mode='whole'), image, [])
    torch.testing.assert_close(scores, image - 0.5)


def test_missing_proposals_and_unknown_aggregation_are_named():
    model = make_segmentor()
    with pytest.raises(UserError, match="'proposals' into meta_keys of PackSegInputs"):
        model.inference(torch.zeros(1, 3, 8, 8), [dict(ori_shape=(8, 8))])
    with pytest.raises(UserError, match="'max' or 'mean', not 'median'"):
        make_segmentor(aggregation='median')
