from mmlayerwise.datasets import DBpedia
from mmlayerwise.utils.dataset_sources import SOURCES


def test_labels_follow_the_fourteen_classes(tmp_path):
    rows = (f'{number},"title {number}","text"\n' for number in range(1, 15))
    (tmp_path / 'test.csv').write_text(''.join(rows))
    data = DBpedia(tmp_path, 'test')
    names = [data.metainfo['classes'][label] for label in data.get_gt_labels()]
    assert len(set(names)) == 14
    assert (names[0], names[5], names[13]) == ('Company', 'MeanOfTransportation', 'WrittenWork')


def test_a_file_as_published(tmp_path):
    # The index bare, fields quoted, quotes inside doubled, the abstract with a space in front.
    (tmp_path / 'train.csv').write_text(
        '1,"E. D. Abbott Ltd"," Abbott of Farnham was a British ""coachbuilder"", since 1929."\n'
        '14,"The Lilac, Bus"," A story\\nin two lines"\n',
        encoding='utf-8',
    )
    data = DBpedia(tmp_path, 'train')
    assert [data.get_data_info(number)['text'] for number in range(2)] == [
        'E. D. Abbott Ltd Abbott of Farnham was a British "coachbuilder", since 1929.',
        'The Lilac, Bus A story\nin two lines',
    ]
    assert data.get_gt_labels().tolist() == [0, 13]


def test_the_download_has_its_layout():
    assert SOURCES[DBpedia.download_name].layout == 'dbpedia_csv'
