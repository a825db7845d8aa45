import pytest
import torch
from torch import nn

from mmlayerwise.forward import ForwardLearningError, find_first_convolution, read_input


class Branches(nn.Module):
    """Two convolutions read the image, registered in the other order."""

    def __init__(self):
        super().__init__()
        self.late = nn.Conv2d(8, 4, 3)
        self.right = nn.Conv2d(3, 4, 1)
        self.left = nn.Conv2d(3, 4, 1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.unused = nn.Conv2d(3, 4, 1)

    def forward(self, image):
        left = self.norm(self.left(image)).relu()
        return self.late(torch.cat([left, self.right(image)], 1))


class Focus(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(12, 4, 3)

    def forward(self, image):
        return self.conv(nn.functional.pixel_unshuffle(image, 2))


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.characters = nn.Embedding(70, 16)
        self.conv = nn.Conv1d(16, 8, 3)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, text):
        return self.norm(self.conv(self.characters(text).transpose(1, 2)))


IMAGE = torch.randn(2, 3, 8, 8)


def find(model, data=IMAGE, name=None):
    return find_first_convolution(model, lambda: model(data), name)


def test_the_first_convolution_is_that_which_runs_first():
    model = Branches()
    found = find(model)
    assert (found.name, found.batch_norm) == ('left', 'norm')
    assert found.module is model.left


def test_another_that_reads_the_input_can_be_named():
    found = find(Branches(), name='right')
    assert (found.name, found.batch_norm) == ('right', None)


def test_a_step_without_weights_may_come_before():
    assert find(Focus()).name == 'conv'


def test_an_embedding_may_come_before():
    found = find(Text(), torch.zeros(2, 9, dtype=torch.int64))
    assert (found.name, found.batch_norm) == ('conv', 'norm')


def test_the_model_is_left_as_it_was():
    model = Branches()
    model.norm.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    find(model)
    assert model.training
    assert not model.norm.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


@pytest.mark.parametrize(
    ('model', 'name', 'message'),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), None, 'model has no convolution'),
        (
            nn.Sequential(nn.Linear(8, 8), nn.Conv2d(3, 4, 3)),
            None,
            r'first layer that runs is 0 \(Linear\)',
        ),
        (Branches(), 'late', r"'late' does not read the model's input.*: left, right\."),
        (Branches(), 'unused', r"'unused' does not run.*: left, right\."),
        (Branches(), 'rigth', r"no layer named 'rigth'\. Close names: right.*: left, right\."),
        (Branches(), 'norm', r"'norm' is a BatchNorm2d, not.*: left, right\."),
    ],
)
def test_a_layer_that_is_not_the_inputs_is_refused_with_those_that_are(model, name, message):
    with pytest.raises(ForwardLearningError, match=message):
        find(model, name=name)


def test_the_input_is_read_and_the_pass_ends():
    model = Focus()
    ended = []
    model.conv.register_forward_hook(lambda *_: ended.append(1))
    given = read_input(model, model.conv, lambda: model(IMAGE))
    assert torch.equal(given, nn.functional.pixel_unshuffle(IMAGE, 2))
    assert not ended
    assert not model.conv._forward_pre_hooks


def test_a_layer_that_is_not_reached_is_named():
    model = Branches()
    with pytest.raises(ForwardLearningError, match='did not reach'):
        read_input(model, model.unused, lambda: model(IMAGE))
