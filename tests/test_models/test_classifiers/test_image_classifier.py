import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper

from mmlayerwise.models.classifiers import ImageClassifier
from mmlayerwise.structures import ClassificationDataSample

BACKBONE = {'type': 'AlexNet', 'stem': 'cifar', 'out_indices': (1, 2)}
NECK = {'type': 'GlobalAveragePooling'}
HEAD = {'type': 'LinearClsHead', 'num_classes': 10, 'in_channels': 256}
AUXILIARY = {
    'type': 'GoogLeNetAuxiliaryHead',
    'num_classes': 10,
    'in_channels': 192,
    'in_index': 0,
    'loss_weight': 0.3,
}


def make_classifier(**kwargs) -> ImageClassifier:
    torch.manual_seed(0)
    config = {'backbone': BACKBONE, 'neck': NECK, 'head': HEAD, **kwargs}
    model = ImageClassifier(**config)
    model.init_weights()
    return model


def make_batch(size: int = 48) -> dict:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (3, 3, size, size), generator=generator, dtype=torch.uint8)
    samples = [ClassificationDataSample().set_gt_label(label) for label in (1, 9, 0)]
    return pseudo_collate(
        [{'inputs': i, 'data_samples': s} for i, s in zip(images, samples, strict=True)]
    )


@pytest.fixture
def preprocessor() -> dict:
    return {'mean': [127.5] * 3, 'std': [60.0] * 3}


def test_modes_agree_with_each_other(preprocessor):
    model = make_classifier(data_preprocessor=preprocessor).eval()
    data = model.data_preprocessor(make_batch())
    logits = model(data['inputs'])
    assert logits.shape == (3, 10)
    torch.testing.assert_close(logits, model.head(model.extract_feat(data['inputs'])))
    labels = torch.tensor([1, 9, 0])
    losses = model(**data, mode='loss')
    expected = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(losses, {'loss_cls': expected})
    predictions = model(**data, mode='predict')
    for sample, row in zip(predictions, logits, strict=True):
        torch.testing.assert_close(sample.pred_score, row.softmax(0))
        assert sample.pred_label.item() == row.argmax().item()


def test_without_head_gives_features():
    model = make_classifier(head=None, neck=None)
    features = model(torch.randn(2, 3, 32, 32))
    assert [feature.shape[1] for feature in features] == [192, 256]
    assert not model.with_head
    assert not model.with_neck


def test_takes_a_backbone_of_one_tensor():
    backbone = {'type': 'torch.nn.Conv2d', 'in_channels': 3, 'out_channels': 256, 'kernel_size': 3}
    assert make_classifier(backbone=backbone)(torch.randn(2, 3, 8, 8)).shape == (2, 10)


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="'tensor', 'loss' or 'predict', but is 'train'"):
        make_classifier()(torch.randn(1, 3, 32, 32), mode='train')


def test_preprocessor_may_be_a_module_or_another_type():
    assert make_classifier(data_preprocessor={'type': 'ImgDataPreprocessor'}).data_preprocessor
    module = make_classifier().data_preprocessor
    assert make_classifier(data_preprocessor=module).data_preprocessor is module


def test_auxiliary_losses_are_weighted_and_leave_predictions_alone(preprocessor):
    plain = make_classifier(data_preprocessor=preprocessor).eval()
    model = make_classifier(data_preprocessor=preprocessor, auxiliary_head=AUXILIARY).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    data = model.data_preprocessor(make_batch())
    losses = model(**data, mode='loss')
    assert losses.keys() == {'loss_cls', 'aux_0.loss_cls'}
    features = model.backbone(data['inputs'])
    logits = model.auxiliary_head[0](features)
    expected = 0.3 * torch.nn.functional.cross_entropy(logits, torch.tensor([1, 9, 0]))
    torch.testing.assert_close(losses['aux_0.loss_cls'], expected)
    total, _ = model.parse_losses(losses)
    torch.testing.assert_close(total, losses['loss_cls'] + losses['aux_0.loss_cls'])
    assert torch.equal(model(data['inputs']), plain(data['inputs']))


def test_train_step_of_mmengine(preprocessor):
    model = make_classifier(data_preprocessor=preprocessor, auxiliary_head=[AUXILIARY])
    before = {name: p.clone() for name, p in model.named_parameters()}
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    logged = model.train_step(make_batch(), optimizer)
    parts = logged['loss_cls'] + logged['aux_0.loss_cls']
    assert logged['loss'].item() == pytest.approx(parts.item())
    assert not [name for name, p in model.named_parameters() if torch.equal(p, before[name])]


def test_auxiliary_heads_are_initialised_by_their_own_config():
    constant = {'type': 'Constant', 'layer': 'Linear', 'val': 0.5}
    model = make_classifier(auxiliary_head={**AUXILIARY, 'init_cfg': constant})
    assert model.auxiliary_head[0].fc2.weight.unique().tolist() == [0.5]
