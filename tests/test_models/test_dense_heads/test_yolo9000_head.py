import pytest
import torch

pytest.importorskip('mmdet')

from mmengine.structures import InstanceData

from mmlayerwise.models.dense_heads import YOLO9000Head
from mmlayerwise.utils.errors import UserError

TREE = 'animal -1\nthing -1\ncat 0\ndog 0\ncup 1\n'
ANCHORS = [(0.5, 0.5), (1.0, 2.0)]


@pytest.fixture
def build(tmp_path):
    (tmp_path / 'a.tree').write_text(TREE)

    def run(**arguments):
        return YOLO9000Head(
            tmp_path / 'a.tree', in_channels=4, anchors=ANCHORS, **arguments
        ).double()

    return run


def random_map(images=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(images, 2 * 10, 3, 3, generator=generator, dtype=torch.double)


def truth(label, *box):
    boxes = torch.tensor([box] if box else [[0, 0, 96, 96]], dtype=torch.double)
    return InstanceData(bboxes=boxes, labels=torch.tensor([label]))


def by_anchor(pred_map):
    return pred_map.permute(0, 2, 3, 1).reshape(len(pred_map), -1, 10)


def test_size_with_the_released_tree(tmp_path):
    nodes = [f'n{node} {-1 if node < 4 else (node - 4) // 6}' for node in range(9418)]
    (tmp_path / '9k.tree').write_text('\n'.join(nodes))
    with torch.device('meta'):
        head = YOLO9000Head(tmp_path / '9k.tree')
        (maps,) = head((torch.zeros(1, 1024, 17, 17),))
    assert maps[0].shape == (1, 28_269, 17, 17)
    assert sum(p.numel() for p in head.parameters()) == 28_269 * 1025


def test_labels_stand_for_nodes(build):
    boxes = (20, 20, 50, 60)
    named = build(classes=['cup', 'cat']).loss_by_feat((random_map(1),), [truth(1, *boxes)], [{}])
    numbered = build().loss_by_feat((random_map(1),), [truth(2, *boxes)], [{}])
    for name, value in named.items():
        torch.testing.assert_close(value, numbered[name])
    with pytest.raises(AssertionError):
        other = build().loss_by_feat((random_map(1),), [truth(1, *boxes)], [{}])
        torch.testing.assert_close(other['loss_cls'], numbered['loss_cls'])


def test_image_label_trains_the_most_likely_anchor_alone(build):
    pred_map = random_map(1)
    pred_map[:, 4::10] = -2  # all objectness below the least one
    pred_map.requires_grad_()
    head = build()
    losses = head.loss_by_feat((pred_map,), [truth(3)], [dict(image_level=True)])
    sum(losses.values()).backward()
    outputs = by_anchor(pred_map).detach()[0]
    probabilities = head.tree.log_probabilities(outputs[:, 5:]).exp()[:, 3]
    best = (outputs[:, 4].sigmoid() * probabilities).argmax()
    assert losses['loss_bbox'] == 0
    assert losses['loss_cls'].item() == pytest.approx(-probabilities[best].log().item())
    lack = 0.3 - outputs[best, 4].sigmoid().item()
    assert losses['loss_obj'].item() == pytest.approx(5 * lack**2 / 2)
    gradient = by_anchor(pred_map.grad)[0]
    assert gradient.abs().sum(1).nonzero().flatten().tolist() == [best.item()]
    assert gradient[best, :4].eq(0).all()


def test_both_kinds_of_images_in_one_batch(build):
    pred_map, metas = random_map(2), [dict(image_level=True), {}]
    truths = [truth(3), truth(2, 20, 20, 50, 60)]
    both = build().loss_by_feat((pred_map,), truths, metas)
    alone = [
        build().loss_by_feat((pred_map[i : i + 1],), truths[i : i + 1], metas[i : i + 1])
        for i in range(2)
    ]
    for name, value in both.items():
        torch.testing.assert_close(value, (alone[0][name] + alone[1][name]) / 2)


def test_predictions_without_classes_are_nodes_on_the_way_down(build):
    head = build(tree_threshold=0.5)
    pred_map = random_map(1)
    _, scores = head.decode_predictions((pred_map,))
    outputs = by_anchor(pred_map)[0]
    probabilities = head.tree.log_probabilities(outputs[:, 5:]).exp()
    for place, row in enumerate(probabilities.tolist()):
        node = max((0, 1), key=row.__getitem__)
        children = {0: (2, 3), 1: (4,)}[node]
        best = max(children, key=row.__getitem__)
        node = best if row[best] > 0.5 else node
        expected = row[node] * outputs[place, 4].sigmoid().item()
        assert scores[0, place].nonzero().flatten().tolist() == [node]
        assert scores[0, place, node].item() == pytest.approx(expected)


def test_class_that_is_not_in_the_tree_is_refused(build):
    with pytest.raises(UserError, match='no node for the classes lion'):
        build(classes=['cat', 'lion'])
