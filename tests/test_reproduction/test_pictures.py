import cv2
import pytest

from mmlayerwise.reproduction.pictures import draw_all, last_hidden_layer
from mmlayerwise.reproduction.summary import summarise
from tests.test_reproduction.toy import result

LAYERWISE = [
    {
        'layer': name,
        'epochs': [
            {'epoch': epoch, 'loss': None, 'separation_index': value, 'seconds': 0.0}
            for epoch, value in enumerate(values)
        ],
    }
    for name, values in (('backbone.features.0', (0.2, 0.3)), ('backbone.features.3', (0.3, 0.25)))
]


def runs():
    return [
        result(method, seed, 50 + seed + 3 * place, layerwise=LAYERWISE if place == 2 else None)
        for place, method in enumerate(('backpropagation', 'forward_1', 'forward_2'))
        for seed in range(3)
    ]


def test_all_pictures_are_drawn(tmp_path):
    found = runs()
    paths = draw_all(summarise('forward-layers', found), found, tmp_path)
    assert [path.name for path in paths] == [
        'differences.png', 'separation_over_time.png', 'separation_per_layer.png',
        'forward_phase.png',
    ]  # fmt: skip
    for path in paths:
        picture = cv2.imread(str(path))
        assert picture.shape[1] > 500
        assert picture.std() > 5


def test_what_there_is_no_data_for_is_left_out(tmp_path):
    found = [result()]
    for epoch in found[0]['epochs']:
        epoch['separation'] = {}
    assert draw_all(summarise('first-layer', found), found, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('layers', 'last'),
    [
        (['backbone.a', 'backbone.b', 'head.layers.0.0', 'head.fc'], 'backbone.b'),
        (['head.fc'], 'head.fc'),
    ],
)
def test_the_last_hidden_layer_is_before_the_head(layers, last):
    run = result()
    run['epochs'][-1]['separation'] = dict.fromkeys(layers, 0.5)
    assert last_hidden_layer(run) == last
