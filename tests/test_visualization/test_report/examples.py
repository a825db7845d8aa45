"""Made-up content of a report, as large and as nasty as a test wants it."""

import numpy as np

from mmlayerwise.separation.indices import wilson_interval
from mmlayerwise.separation.profile import LayerSeparation, SeparationProfile
from mmlayerwise.separation.record import Measurement, SeparationRecord
from mmlayerwise.visualization.report import (
    LayerCost,
    LayerView,
    ModelCost,
    Pair,
    ReportData,
    Sample,
)
from mmlayerwise.visualization.report.thumbnails import thumbnail


def layer(name, index, classes=('cat', 'dog'), num_samples=100):
    return LayerSeparation(
        name,
        index=index,
        interval=wilson_interval(index, num_samples),
        chance=1 / len(classes),
        num_samples=num_samples,
        dimension=8,
        order=5,
        high_order=index / 2,
        soft=index * 0.9,
        anti=0.01,
        center=index * 0.8,
        per_class={name: (index, num_samples // len(classes)) for name in classes},
    )


def measurement(epoch, indices, names=None, classes=('cat', 'dog')):
    names = names or [f'layer{number}' for number in range(len(indices))]
    layers = [layer(name, index, classes) for name, index in zip(names, indices, strict=True)]
    return Measurement(epoch, 10 * epoch, SeparationProfile(layers, 'image'))


def report(num_layers=4, num_steps=3, classes=('cat', 'dog'), num_points=30, names=None):
    """A whole report; the index grows with the layer and with the epoch."""
    random = np.random.default_rng(0)
    names = names or [f'backbone.layer{number}.conv' for number in range(num_layers)]
    indices = np.linspace(0.3, 0.8, num_layers)
    measurements = [
        measurement(epoch, [float(v) for v in indices + 0.15 * epoch / num_steps], names, classes)
        for epoch in range(1, num_steps + 1)
    ]
    colors = random.integers(0, 256, (num_points, 3))
    pictures = [thumbnail(np.full((32, 32, 3), color, np.uint8)) for color in colors]
    labels = [number % len(classes) for number in range(num_points)]
    views = {}
    for name in names:
        points = random.normal(size=(num_points, 2)).round(3)
        pairs = [
            Pair(a, b, labels[a], labels[b], 0.5)
            for a, b in random.choice(num_points, (4, 2), replace=False).tolist()
        ]
        views[name] = LayerView(
            list(range(num_points)), labels, *points.T.tolist(), (0.4, 0.2), pairs
        )
    cost = ModelCost(
        1000 * num_layers,
        5e6 * num_layers,
        {name: LayerCost(1000, 5e6) for name in names},
    )
    return ReportData(
        title='A report',
        record=SeparationRecord(dict(layers='auto', seed=0), measurements),
        steps=[f'epoch {one.epoch}' for one in measurements],
        cost=cost,
        views=views,
        samples=[Sample(number, picture) for number, picture in enumerate(pictures)],
        class_names=dict(enumerate(classes)),
        configuration="model = dict(type='Net')",
        environment=dict(python='3.11', versions=dict(torch='2.13')),
        notes=['A note.'],
    )
