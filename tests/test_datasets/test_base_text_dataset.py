from pathlib import Path

import pytest

from mmlayerwise.datasets import AGNews, DBpedia
from mmlayerwise.utils.errors import UserError

ROWS = '"3","Stocks Up"," Oil slides. "\n"1","A ""quoted"" word","Two, with commas"\n'


def write(folder: Path, content: str | bytes, split: str = 'train') -> Path:
    content = content.encode() if isinstance(content, str) else content
    (folder / f'{split}.csv').write_bytes(content)
    return folder


@pytest.mark.parametrize('split', ['train', 'test'])
def test_joins_title_and_description_and_counts_classes_from_zero(tmp_path, split):
    data = AGNews(write(tmp_path, ROWS, split), split)
    assert [data[i]['text'] for i in range(2)] == [
        'Stocks Up Oil slides.',
        'A "quoted" word Two, with commas',
    ]
    assert data.get_gt_labels().tolist() == [2, 0]
    assert data.get_cat_ids(1) == [0]
    assert data.test_mode == (split == 'test')


def test_a_backslash_and_an_n_are_a_line_break_but_for_ag_news(tmp_path):
    write(tmp_path, '"1","lush\\national","b"\n')
    assert DBpedia(tmp_path)[0]['text'] == 'lush\national b'
    assert AGNews(tmp_path)[0]['text'] == 'lush\\national b'


def test_empty_fields_and_line_breaks_within_quotes(tmp_path):
    data = AGNews(write(tmp_path, '"2","",""\r\n"4","","a\nb"\r\n"1","only title",""\r\n'))
    assert [data[i]['text'] for i in range(3)] == ['', 'a\nb', 'only title']
    assert data.get_gt_labels().tolist() == [1, 3, 0]


def test_text_of_any_script_is_kept(tmp_path):
    write(tmp_path, '"1","Škoda Octavia","自動車 🚗"\n')
    assert DBpedia(tmp_path)[0]['text'] == 'Škoda Octavia 自動車 🚗'


def test_missing_file_says_how_to_get_the_data(tmp_path):
    with pytest.raises(UserError, match=r'no test\.csv in .*download_dataset\.py ag_news`'):
        AGNews(tmp_path, 'test')
    with pytest.raises(UserError, match=r'folder .* does not exist.*download_dataset\.py dbpedia`'):
        DBpedia(tmp_path / 'nowhere')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (ROWS + '"1","two columns"\n', r'train\.csv, line 3: 2 columns where 3 are expected'),
        (ROWS + '\n', r'line 3: 0 columns'),
        (ROWS + '"5","a","b"\n', r"line 3: the class index is '5', but AGNews has .* 1 to 4"),
        ('"0","a","b"\n', "the class index is '0'"),
        ('"Sports","a","b"\n', "line 1: the class index is 'Sports'"),
        ('"-1","a","b"\n', "line 1: the class index is '-1'"),
        ('"²","a","b"\n', "line 1: the class index is '²'"),
        (ROWS + '"2","never closed', r'line 3: unexpected end of data; the file is truncated'),
        ('"2","a"b","c"\n', r'line 1: .*the file is truncated, damaged or no CSV'),
        (b'"1","\xff\xfe","b"\n', 'train.csv is not UTF-8'),
        ('', 'train.csv is empty'),
    ],
)
def test_damaged_files_name_the_line_and_what_was_expected(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        AGNews(write(tmp_path, content))


def test_classes_can_be_chosen_and_renamed(tmp_path):
    write(tmp_path, '"1","a",""\n"2","b",""\n"4","c",""\n"2","d",""\n')
    data = AGNews(tmp_path, metainfo=dict(classes=('Sports', 'World')))
    assert [(data[i]['text'], data[i]['gt_label']) for i in range(len(data))] == [
        ('a', 1), ('b', 0), ('d', 0),
    ]  # fmt: skip
    renamed = AGNews(tmp_path, metainfo=dict(classes=('w', 's', 'b', 't')))
    assert renamed.get_gt_labels().tolist() == [0, 1, 3, 1]
    with pytest.raises(UserError, match='labels from 0 to 3, but 3 classes'):
        AGNews(tmp_path, metainfo=dict(classes=('w', 's', 'b')))


def test_only_some_texts(tmp_path):
    data = AGNews(write(tmp_path, ROWS), indices=[1])
    assert len(data) == 1
    assert data[0]['gt_label'] == 0
