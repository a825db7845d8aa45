import math

import pytest
import torch

from mmlayerwise.models.layers import WordTree
from mmlayerwise.utils.errors import UserError

NAMES = ['animal', 'thing', 'cat', 'dog', 'tabby', 'lynx', 'cup']
PARENTS = [-1, -1, 0, 0, 2, 2, 1]


def plain_conditionals(logits):
    return [
        math.exp(value)
        / sum(math.exp(other) for other, p in zip(logits, PARENTS, strict=True) if p == parent)
        for value, parent in zip(logits, PARENTS, strict=True)
    ]


def plain_probability(conditionals, node):
    return conditionals[node] * (
        plain_probability(conditionals, PARENTS[node]) if PARENTS[node] >= 0 else 1
    )


def test_probabilities_are_products_on_the_path():
    tree = WordTree(NAMES, PARENTS)
    logits = torch.randn(3, 2, 7, dtype=torch.double) * 3
    conditionals, outputs = (
        tree.log_conditionals(logits).exp(),
        tree.log_probabilities(logits).exp(),
    )
    for row, actual_conditionals, actual in zip(
        logits.flatten(0, 1).tolist(),
        conditionals.flatten(0, 1),
        outputs.flatten(0, 1),
        strict=True,
    ):
        expected = plain_conditionals(row)
        assert actual_conditionals.tolist() == pytest.approx(expected)
        assert actual.tolist() == pytest.approx([plain_probability(expected, n) for n in range(7)])


def test_large_outputs_do_not_overflow():
    outputs = WordTree(NAMES, PARENTS).log_probabilities(torch.tensor([1e4, 0, 0, -1e4, 5, 5, 1.0]))
    assert outputs.isfinite().all()
    assert outputs[4].exp().item() == pytest.approx(0.5)


def test_gradient_is_that_of_darknet():
    """In every group on the path: probability minus one-hot, elsewhere nothing."""
    tree = WordTree(NAMES, PARENTS)
    logits = torch.randn(7, dtype=torch.double, requires_grad=True)
    (-tree.log_probabilities(logits)[4]).backward()
    conditionals = plain_conditionals(logits.tolist())
    expected = [c - (n in (0, 2, 4)) for n, c in enumerate(conditionals)]
    expected[6] = 0
    assert logits.grad.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ('probabilities', 'threshold', 'node'),
    [
        ([0.9, 0.1, 0.8, 0.1, 0.7, 0.1, 0.1], 0.5, 4),
        ([0.9, 0.1, 0.8, 0.1, 0.4, 0.4, 0.1], 0.5, 2),
        ([0.9, 0.1, 0.4, 0.5, 0.4, 0.0, 0.1], 0.6, 0),
        ([0.4, 0.6, 0.4, 0.0, 0.4, 0.0, 0.6], 0.3, 6),
        # A threshold above all still gives a root.
        ([0.6, 0.4, 0.3, 0.3, 0.2, 0.1, 0.4], 0.9, 0),
    ],
)
def test_inference_goes_down_the_tree(probabilities, threshold, node):
    assert WordTree(NAMES, PARENTS).descend(torch.tensor(probabilities), threshold) == node


def test_file_in_darknets_format(tmp_path):
    (tmp_path / 'a.tree').write_text('n01 -1\ntraffic light 0\n\nn03 0\n')
    tree = WordTree.from_file(tmp_path / 'a.tree')
    assert (tree.names, tree.parents) == (['n01', 'traffic light', 'n03'], [-1, 0, 0])
    assert tree.num_groups == 2


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a -1\nb\n', 'line 2: expected "name parent"'),
        ('a -1\nb x\n', 'line 2: expected "name parent"'),
        ('a -1\nb 1\n', r'node 1 \(b\) of the word tree has the parent 1'),
        ('', '0 names and 0 parents'),
    ],
)
def test_broken_file_is_refused(tmp_path, text, message):
    (tmp_path / 'a.tree').write_text(text)
    with pytest.raises(UserError, match=message):
        WordTree.from_file(tmp_path / 'a.tree')


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match='does not exist'):
        WordTree.from_file(tmp_path / 'gone.tree')
