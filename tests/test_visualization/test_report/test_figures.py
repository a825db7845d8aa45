import pytest

from mmlayerwise.visualization.report import LayerCost, ModelCost, figures
from tests.test_visualization.test_report.examples import measurement, report

LAYERS = ['a', 'b', 'c', 'd']


def test_index_chart_holds_index_interval_and_chance_and_leaves_gaps():
    one = measurement(1, [0.5, 0.7], ['a', 'c'])
    low, high, chance, index = figures.index_traces(one, ['a', 'b', 'c'])
    assert index['y'] == [0.5, None, 0.7]
    assert chance['y'] == [0.5, None, 0.5]
    first = one.profile.layers[0].interval
    assert (low['y'][0], high['y'][0]) == pytest.approx(first, abs=1e-4)
    assert low['y'][1] is high['y'][1] is None
    assert index['error_y']['array'][0] == pytest.approx(first[1] - 0.5, abs=2e-4)
    assert index['customdata'][2][4] == 100


def test_sizes_are_shown_where_samples_are_objects():
    one = measurement(1, [0.5, 0.7], ['a', 'c'])
    assert figures.size_traces(one, ['a', 'b', 'c']) == []
    one.profile.layers[0].per_size = {'small': (0.2, 10), 'large': (0.9, 30)}
    small, large = figures.size_traces(one, ['a', 'b', 'c'])
    assert (small['name'], small['y'], small['visible']) == (
        'small',
        [0.2, None, None],
        'legendonly',
    )
    assert (large['name'], large['y']) == ('large', [0.9, None, None])
    assert large['customdata'][0] == ['a', 30]


def test_axes_fit_all_steps():
    steps = [measurement(epoch, [0.2 * epoch, 0.3]) for epoch in (1, 2, 4)]
    low, high = figures.index_layout(steps, ['layer0', 'layer1'])['yaxis']['range']
    assert low < min(one.profile.layers[0].interval[0] for one in steps)
    assert high > max(one.profile.layers[0].interval[1] for one in steps)


def test_names_are_shown_as_they_are():
    one = measurement(1, [0.5], ['<b>bold</b> & more'], ('x',))
    (*_, index) = figures.index_traces(one, ['<b>bold</b> & more'])
    assert index['customdata'][0][0] == '&lt;b&gt;bold&lt;/b&gt; &amp; more'
    rows = figures.class_layout(['a'], ['<i>'])['yaxis']['ticktext']
    assert rows == ['&lt;i&gt;']


def test_heat_map_has_a_row_a_class_and_a_column_a_layer():
    one = measurement(1, [0.5, 0.7], ['a', 'c'])
    (trace,) = figures.class_traces(one, ['a', 'b', 'c'], ['dog', 'cat'], (0.4, 0.9))
    assert trace['z'] == [[0.5, None, 0.7]] * 2
    assert trace['customdata'] == [[50, None, 50]] * 2
    assert (trace['zmin'], trace['zmax']) == (0.4, 0.9)


def test_heat_map_keeps_the_classes_with_most_samples(monkeypatch):
    monkeypatch.setattr(figures, 'MAX_CLASSES', 2)
    one = measurement(1, [0.5])
    one.profile.layers[0].per_class = {'few': (0.5, 1), 'many': (0.2, 9), 'some': (0.1, 5)}
    assert figures.heat_map_classes([one]) == ['many', 'some']
    assert figures.class_index_range([one]) == (0.1, 0.5)
    one.profile.layers[0].per_class = {'one': (1.0, 1), 'two': (1.0, 1)}
    assert figures.class_index_range([one]) == (0.9, 1.0)


def test_costly_layers_that_add_nothing_stand_out():
    # Intervals of 100 samples are about 0.1 to each side.
    one = measurement(1, [0.5, 0.8, 0.82, 0.81], LAYERS)
    cost = ModelCost(
        1000,
        1000,
        {
            'a': LayerCost(10, 10),
            'b': LayerCost(400, 400),  # costly, and gains
            'c': LayerCost(400, 20),  # parameters alone, and no gain
            'd': LayerCost(20, 10),  # no gain, and cheap
        },
    )
    assert figures.gains(one, LAYERS) == [None, *map(pytest.approx, (0.3, 0.02, -0.01))]
    assert figures.adds_nothing(one, LAYERS) == [False, False, True, True]
    assert figures.dispensable(one, LAYERS, cost) == [False, False, True, False]
    usual_flops, marked_flops, usual, marked = figures.cost_traces(one, LAYERS, cost)
    assert usual['y'] == [1.0, 40.0, None, 2.0]
    assert marked['y'] == [None, None, 40.0, None]
    assert (usual_flops['y'][1], marked_flops['y'][2]) == (40.0, 2.0)
    assert marked['marker']['pattern']['shape'] == '/'
    assert 'costly, adds nothing' in marked['text'][2]


def test_without_flops_the_chart_shows_parameters_alone():
    one = measurement(1, [0.5, 0.8], ['a', 'b'])
    cost = ModelCost(30, None, {'a': LayerCost(10), 'b': LayerCost()})
    traces = figures.cost_traces(one, ['a', 'b'], cost)
    assert {trace['yaxis'] for trace in traces} == {'y2'}
    assert traces[0]['y'] == [pytest.approx(33.333), None]
    assert figures.cost_layout(['a', 'b'], cost)['yaxis2']['domain'] == [0, 1]


@pytest.mark.parametrize(
    ('value', 'text'),
    [(0, '0'), (950, '950'), (1234, '1.23 k'), (11.2e6, '11.2 M'), (3.4e9, '3.4 G'), (2e12, '2 T')],
)
def test_big_numbers_have_prefixes(value, text):
    assert figures.big_number(value) == text


def test_plotly_accepts_every_chart():
    graph_objects = pytest.importorskip('plotly.graph_objects')
    data = report()
    names = data.record.layers()
    one = data.record.measurements[0]
    for traces, layout in (
        (figures.index_traces(one, names), figures.index_layout([one], names)),
        (figures.class_traces(one, names, ['cat']), figures.class_layout(names, ['cat'])),
        (figures.cost_traces(one, names, data.cost), figures.cost_layout(names, data.cost)),
        ([], figures.projection_layout()),
    ):
        graph_objects.Figure(data=traces, layout=layout)
