import numpy as np

from mmlayerwise.datasets import AGNews
from mmlayerwise.utils.dataset_sources import SOURCES


def test_reads_the_real_files(data_root):
    data = AGNews(data_root / 'ag_news_csv', 'test')
    first = data[0]
    assert first['text'].startswith('Stocks Up as Oil Slides NEW YORK (Reuters) - U.S. stocks')
    assert data.metainfo['classes'][first['gt_label']] == 'Business'
    counts = np.bincount(data.get_gt_labels(), minlength=4)
    # Every class is about as frequent as the others.
    assert counts.min() > 0.8 * counts.max()
    assert len(AGNews(data_root / 'ag_news_csv')) > len(data)


def test_the_class_list_beside_the_files_is_ours(data_root):
    names = (data_root / 'ag_news_csv' / 'classes.txt').read_text().split()
    assert tuple(names) == AGNews.METAINFO['classes']


def test_the_download_has_its_layout():
    assert SOURCES[AGNews.download_name].layout == 'ag_news_csv'
