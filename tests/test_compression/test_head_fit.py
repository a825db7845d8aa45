import torch

from mmlayerwise.compression.head_fit import fit_head
from mmlayerwise.compression.head_search import HeadSearch
from mmlayerwise.compression.plan import CompressionPlan, fingerprint
from mmlayerwise.registry import MODELS
from mmlayerwise.separation.batches import as_batches

MODEL = dict(
    type='mmlayerwise.ImageClassifier',
    backbone=dict(type='mmlayerwise.ResNetCIFAR', depth=18, base_channels=8, stem_channels=8),
    neck=dict(type='mmlayerwise.GlobalAveragePooling'),
    head=dict(type='mmlayerwise.LinearClsHead', num_classes=2, in_channels=64),
)


def fitted(widths):
    torch.manual_seed(0)
    model = MODELS.build(MODEL)
    batches = list(as_batches([(torch.randn(20, 3, 8, 8), torch.arange(20) % 2)]))
    plan = CompressionPlan(fingerprint(model))
    search = HeadSearch(widths=widths, epochs=1, tolerance=1.0)
    small, found = fit_head(model, plan, batches, lambda model, x: model(x), search, None, (8, 8))
    return model, small, plan, found


def test_a_part_that_would_make_the_model_larger_is_not_tried():
    model, small, plan, found = fitted((0, 64, 128))
    # The old part is linear on 64 values, with 130 parameters; one of 64 hidden values has 4,290.
    assert [one.parameters for one in found.candidates] == [130]
    assert plan.head['hidden'] == []
    assert plan.steps[-1].note.endswith('; 64, 128 would make the model larger')
    assert torch.equal(small.head.fc.weight, found.chosen.state['fc.weight'])
    assert not torch.equal(small.head.fc.weight, model.head.fc.weight)


def test_a_width_that_is_asked_for_is_taken_whatever_its_size():
    _, _, plan, found = fitted((64,))
    assert plan.head['hidden'] == [64]
    assert found.chosen.parameters == 4290
    assert 'larger' not in plan.steps[-1].note
