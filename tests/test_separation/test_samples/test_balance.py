import numpy as np
import torch

from mmlayerwise.separation.samples import select_balanced


def test_balanced_choice_fills_the_classes_evenly():
    labels = torch.tensor([0] * 50 + [1] * 10 + [2] * 3)
    priorities = torch.rand(63, generator=torch.Generator().manual_seed(0)).double()
    chosen = select_balanced(labels, priorities, 20)
    assert labels[chosen].bincount().tolist() in ([9, 8, 3], [8, 9, 3])
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    # Within a class the lowest priorities are taken.
    rows = chosen[labels[chosen] == 0]
    assert priorities[rows].max() < np.delete(priorities[:50].numpy(), rows.numpy()).min()
    assert select_balanced(labels, priorities, 100).tolist() == list(range(63))


def test_a_class_may_be_capped():
    labels = torch.tensor([0] * 50 + [1] * 10 + [2] * 3)
    priorities = torch.rand(63, generator=torch.Generator().manual_seed(0)).double()
    chosen = select_balanced(labels, priorities, 60, max_per_class=5)
    assert labels[chosen].bincount().tolist() == [5, 5, 3]
    assert sorted(priorities[chosen[:5]].tolist()) == sorted(priorities[:50].tolist())[:5]
