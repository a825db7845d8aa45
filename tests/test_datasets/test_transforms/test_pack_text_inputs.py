import numpy as np
import torch

from mmlayerwise.datasets.transforms import PackTextInputs


def test_packs_tokens_label_and_text():
    results = {'tokens': np.array([3, 0]), 'text': 'a', 'gt_label': 2, 'sample_idx': 5, 'other': 1}
    packed = PackTextInputs()(results)
    assert packed['inputs'].dtype == torch.int64
    assert packed['inputs'].tolist() == [3, 0]
    assert packed['data_samples'].gt_label.tolist() == [2]
    assert packed['data_samples'].metainfo == {'text': 'a', 'sample_idx': 5}


def test_texts_without_a_label():
    packed = PackTextInputs(meta_keys=())({'tokens': np.array([3]), 'text': 'a'})
    assert 'gt_label' not in packed['data_samples']
    assert packed['data_samples'].metainfo == {}
