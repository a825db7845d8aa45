"""The definitions against the lectures' tables, copied here as they are printed."""

import pytest

from mmlayerwise.reproduction.methods import METHODS
from mmlayerwise.reproduction.tables import (
    DATASET_TITLES,
    MODEL_TITLES,
    TABLES,
    find_table,
    method_title,
)
from mmlayerwise.utils.errors import UserError

FIRST_LAYER = """
CIFAR10	Backpropagation	84.61	92.95	93.17	94.20
	Our proposed method	85.84	94.81	95.02	95.43
	Percentage of improvement	1.23	1.86	1.85	1.23
CIFAR10 - (plane,truck)	Backpropagation	96.45	97.18	97.64	97.09
	Our proposed method	97.09	98.36	98.49	97.77
	Percentage of improvement	0.64	1.18	0.85	0.68
CIFAR10 - (plane,cat,bird)	Backpropagation	96.21	96.80	96.88	96.81
	Our proposed method	96.62	97.63	97.16	97.14
	Percentage of improvement	0.41	0.83	0.28	0.33
CIFAR100	Backpropagation	62.22	70.98	75.30	76.31
	Our proposed method	62.45	71.74	75.58	76.72
	Percentage of improvement	0.23	0.76	0.28	0.41
FASHION-MNIST	Backpropagation	92.53	94.17	95.24	95.78
	Our proposed method	92.65	94.73	95.38	95.91
	Percentage of improvement	0.12	0.56	0.14	0.13
"""
FORWARD_LAYERS = """
0	144 : 16	92.95
1	127 : 44	94.81
2	131 : 18	94.76
3	125 : 45	94.32
4	124 : 58	93.64
5	120 : 06	93.73
6	114 : 05	93.66
11	87 : 03	93.29
12	85 : 51	93.25
13	81 : 14	93.13
"""
LAYER_WISE = """
92.95	93.17	94.20	98.11	Backpropagation	CIFAR10
93.77	94.70	94.73	98.24	Our method
70.98	75.30	76.31	88.14	Backpropagation	CIFAR100
71.19	75.47	76.49	88.17	Our method
94.17	95.38	95.91	97.23	Backpropagation	Fashion-MNIST
94.52	96.71	96.21	97.41	Our method
"""
TEXT = """
AG's News	Our Method	9.35	8.71	8.72
	Backpropagation (Cross Entropy)	10.17	9.29	9.36
DBPedia	Our Method	1.53	1.30	1.23
"""


def lines(text):
    return [line.split('\t') for line in text.strip().splitlines()]


def test_first_layer_is_as_printed():
    table, checked = TABLES['first-layer'], 0
    rows = lines(FIRST_LAYER)
    for place, dataset in enumerate(table.datasets):
        for number, model in enumerate(table.models):
            plain, ours, gain = (rows[3 * place + line][2 + number] for line in range(3))
            assert table.printed[model, dataset, 'backpropagation'] == float(plain)
            assert table.printed[model, dataset, 'qls_frozen'] == float(ours)
            difference = float(ours) - float(plain)
            assert difference == pytest.approx(float(gain), abs=1e-6)
            checked += 2
    assert table.models == ('alexnet', 'vgg16', 'resnet50', 'inception_v3')
    assert checked == len(table.printed) == 40


def test_forward_layers_is_as_printed():
    table, rows = TABLES['forward-layers'], lines(FORWARD_LAYERS)
    for count, time, accuracy in rows:
        method = 'backpropagation' if count == '0' else f'forward_{count}'
        minutes, seconds = map(int, time.split(' : '))
        assert table.printed['vgg16', 'cifar10', method] == float(accuracy)
        assert table.minutes['vgg16', 'cifar10', method] * 60 == pytest.approx(
            minutes * 60 + seconds
        )
    assert len(table.printed) == len(table.minutes) == len(rows)
    assert len(table.methods) == 14


def test_layer_wise_is_as_printed():
    table, rows = TABLES['layer-wise'], lines(LAYER_WISE)
    assert table.models == ('vgg11', 'resnet50', 'inception_v3', 'efficientnet_b0')
    for place, dataset in enumerate(('cifar10', 'cifar100', 'fashion_mnist')):
        for number, model in enumerate(table.models):
            plain, ours = (float(rows[2 * place + line][number]) for line in range(2))
            assert table.printed[model, dataset, 'backpropagation'] == plain
            assert table.printed[model, dataset, 'layer_wise'] == ours
    assert len(table.printed) == 24


def test_text_is_as_printed():
    table, rows = TABLES['text'], lines(TEXT)
    assert table.metric == 'error rate'
    for number, model in enumerate(('vdcnn9', 'vdcnn17', 'vdcnn29')):
        ours, plain, dbpedia = (float(row[2 + number]) for row in rows)
        assert table.printed[model, 'ag_news', 'layer_wise'] == ours
        assert table.printed[model, 'ag_news', 'backpropagation'] == plain
        assert table.printed[model, 'dbpedia', 'layer_wise'] == dbpedia
    assert len(table.printed) == 9


@pytest.mark.parametrize('name', TABLES)
def test_everything_in_a_table_has_a_name_and_every_number_a_place(name):
    table = TABLES[name]
    for model in table.models:
        assert MODEL_TITLES[model]
    for dataset in table.datasets:
        assert DATASET_TITLES[dataset]
    titles = [method_title(method) for method in table.methods]
    assert len(set(titles)) == len(titles)
    assert set(table.methods) <= set(METHODS)
    for model, dataset, method in (*table.printed, *table.minutes):
        assert model in table.models
        assert dataset in table.datasets
        assert method in table.methods


def test_an_unknown_table_lists_the_known_ones():
    with pytest.raises(UserError, match="no table 'table-5'; there are: first-layer, forward-"):
        find_table('table-5')
