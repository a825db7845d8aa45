import pytest
import torch
from torch import nn

from mmlayerwise.separation import (
    Batch,
    GroundTruth,
    SeparationError,
    TextSamples,
    TokenSamples,
    measure_separation,
)
from tests.test_separation.reference import friends


class Reader(nn.Module):
    """Embeds texts, (texts, length) to channels first, and reads them at half the length."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(20, 8)
        self.linear = nn.Linear(8, 6)
        self.conv = nn.Conv1d(6, 16, 3, stride=2, padding=1)
        self.relu = nn.ReLU()

    def forward(self, tokens):
        return self.relu(self.conv(self.linear(self.embedding(tokens)).transpose(1, 2)))


def texts(count=40, length=16):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 20, (count, length), generator=generator)
    return tokens, (tokens[:, 0] > 9).long()


def outputs(model, tokens):
    with torch.no_grad():
        linear = model.linear(model.embedding(tokens))
        return linear.transpose(1, 2), model(tokens)  # both (texts, channels, length)


@pytest.mark.parametrize(
    ('pool', 'reduced'),
    [
        ('flatten', lambda map_: map_.flatten(1)),
        ('average', lambda map_: map_.mean(2)),
        (4, lambda map_: map_.unflatten(2, (4, -1)).mean(3).flatten(1)),
    ],
)
def test_whole_texts_are_measured_by_their_labels(pool, reduced):
    model, (tokens, labels) = Reader(), texts()
    data = list(zip(tokens.split(16), labels.split(16), strict=True))
    profile = measure_separation(model, data, samples=dict(type='TextSamples', pool=pool))
    assert profile.samples == 'text'
    assert [layer.name for layer in profile.layers] == ['linear', 'conv']
    for layer, output in zip(profile.layers, outputs(model, tokens), strict=True):
        expected = friends(reduced(output), labels)
        assert layer.index == pytest.approx(expected[:, 0].mean())
        assert layer.dimension == reduced(output).shape[1]


def test_integers_of_two_dimensions_are_texts():
    tokens, labels = texts()
    profile = measure_separation(Reader(), [(tokens, labels)], ['conv'])
    assert profile.samples == 'text'


def test_a_long_text_is_shortened_to_the_limit():
    sampler = TextSamples(max_dimension=32, layout='channels_first')
    batch = [sampler.candidates(GroundTruth(0, (1, 64), label=1), seed=0)]
    output = torch.randn(1, 8, 16)
    found = sampler.extract(output, batch, (1, 64)).features
    assert torch.allclose(found, output.unflatten(2, (4, 4)).mean(3).flatten(1), atol=1e-6)


def test_tokens_are_measured_at_the_position_of_the_layer_they_lie_in():
    model, (tokens, _) = Reader(), texts(12)
    labels = (tokens > 9).long()
    labels[:, 3] = 255
    truths = [GroundTruth(n, (1, 16), label_map=one[None].clone()) for n, one in enumerate(labels)]
    data = [Batch(tokens, truths, (1, 16))]
    profile = measure_separation(model, data, samples=TokenSamples(max_per_image=16))
    assert profile.samples == 'token'
    linear, conv = outputs(model, tokens)
    kept = labels != 255
    expected = friends_of_others(linear.transpose(1, 2)[kept], labels[kept], kept.nonzero()[:, 0])
    assert profile['linear'].num_samples == int(kept.sum())
    assert profile['linear'].index == pytest.approx(expected)
    # Two tokens a position: the lower label wins a tie, as for pixels; 255 never wins.
    pairs = labels.unflatten(1, (8, 2))
    majority = pairs.min(2).values
    expected = friends_of_others(
        conv.transpose(1, 2).flatten(0, 1),
        majority.flatten(),
        torch.arange(12).repeat_interleave(8),
    )
    assert profile['conv'].num_samples == 12 * 8
    assert profile['conv'].index == pytest.approx(expected)


def friends_of_others(features, labels, groups):
    """Share of samples whose nearest neighbour in another text has their label."""
    distances = torch.cdist(features.double(), features.double())
    distances[groups[:, None] == groups] = float('inf')
    return float((labels[distances.argmin(1)] == labels).double().mean())


def test_a_layout_can_be_given():
    output = torch.randn(1, 5, 3)
    truth = GroundTruth(0, (1, 5), label=1)
    for layout, expected in (
        ('channels_first', output.mean(2)),
        ('channels_last', output.mean(1)),
    ):
        sampler = TextSamples('average', layout=layout)
        batch = [sampler.candidates(truth, seed=0)]
        assert torch.allclose(sampler.extract(output, batch, (1, 5)).features, expected)
    with pytest.raises(SeparationError, match=r"layout must be one of .* got 'first'"):
        TextSamples(layout='first')


def test_tokens_need_a_sequence():
    sampler = TokenSamples(layout='channels_first')
    assert sampler.accepts((2, 8, 4), 2, (1, 16))
    assert not sampler.accepts((2, 8, 1), 2, (1, 16))
    assert not sampler.accepts((2, 8), 2, (1, 16))
    assert not sampler.accepts((2, 8, 4, 4), 2, (1, 16))
    assert TokenSamples(layout='channels_last').accepts((2, 4, 1), 2, (1, 16))
