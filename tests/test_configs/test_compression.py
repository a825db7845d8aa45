import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmlayerwise.compression.apply import apply_plan
from mmlayerwise.compression.plan import CompressionPlan, fingerprint

pytest.importorskip('mmseg')


def build(path: str):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    return MODELS.build(cfg.model)


def count(model) -> tuple[int, int]:
    """Parameters, and statistics of the normalisations."""
    buffers = model.named_buffers()
    statistics = sum(value.numel() for name, value in buffers if 'running' in name)
    return sum(value.numel() for value in model.parameters()), statistics


@pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``')
def test_unet_has_the_published_number_of_parameters():
    model = build('configs/_base_/models/unet_16-256.py')
    # The lectures count the statistics of normalisations among the parameters.
    assert sum(count(model)) == 1_946_756
    widths = [level[-1].convs[1].conv.out_channels for level in model.backbone.encoder]
    assert widths == [16, 32, 64, 128, 256]


@pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``')
def test_unet_cut_after_its_third_level_is_the_published_one_but_for_a_convolution():
    model = build('configs/_base_/models/unet_16-256.py')
    apply_plan(model, CompressionPlan(fingerprint(model), cut='backbone.encoder.2.1'), (64, 64))
    # 155,268 with the second convolution of the old decoder's stage of 64 channels, which our cut
    # drops with its level: 9 * 64 * 64 weights, 64 biases, 4 * 64 of the normalisation.
    assert sum(count(model)) == 155_268 - (9 * 64 * 64 + 64 + 4 * 64)
