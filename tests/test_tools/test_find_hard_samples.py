import csv
import json
from types import SimpleNamespace

import cv2
import pytest

from mmlayerwise.datasets import Digits
from mmlayerwise.engine.hard_samples import image_path
from tests.test_tools.mislabelled import MislabelledDigits, planted_images
from tests.test_tools.tools import ROOT, TOY_CONFIG, load_tool, log_of

tool = load_tool('analysis_tools/find_hard_samples')
QUICKSTART = ROOT / 'configs' / 'quickstart'
SMALL = ('val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False')


def run(*argv):
    tool.main([str(argument) for argument in argv])


def content_of(folder):
    return json.loads((folder / 'hard_samples.json').read_text())


@pytest.fixture(scope='module')
def suspects(tmp_path_factory):
    """The planted images among digits, looked for in the first stage of an untrained network."""
    folder = tmp_path_factory.mktemp('suspects')
    config = folder / 'config.py'
    config.write_text(
        f"_base_ = '{QUICKSTART / 'classification.py'}'\n"
        "custom_imports = dict(imports=['mmlayerwise', 'tests.test_tools.mislabelled'])\n"
        'randomness = dict(seed=0)\n'
        "train_dataloader = dict(dataset=dict(type='MislabelledDigits'))\n"
    )
    run(
        config, '--layer', 'backbone.layer1.1', '--top', 30, '--pictured', 3, '--out', folder,
        '--cfg-options', *SMALL,
    )  # fmt: skip
    return folder


def test_planted_wrong_labels_are_found(suspects):
    content = content_of(suspects)
    assert content['settings']['num_samples'] == MislabelledDigits.SIZE
    planted = set(planted_images().tolist())
    found = [one['image'] for one in content['samples'][: len(planted)]]
    recall = len(planted & set(found)) / len(planted)
    # By chance it would be the share of planted images, 0.08.
    assert recall > 0.75
    # And the neighbours tell the right class.
    truth = Digits(split='train')
    classes = truth.metainfo['classes']
    mended = [
        one['suggested'] == classes[int(truth.get_data_info(one['image'])['gt_label'])]
        for one in content['samples']
        if one['image'] in planted
    ]
    assert sum(mended) > 0.75 * len(mended)


def test_the_list_says_what_and_why(suspects):
    content = content_of(suspects)
    assert (content['format'], content['version']) == ('mmlayerwise.hard_samples', 1)
    assert content['settings']['layer'] == 'backbone.layer1.1'
    assert content['settings']['split'] == 'train'
    assert content['environment']['versions']['torch']
    assert len(content['samples']) == 30
    suspicion = [one['suspicion'] for one in content['samples']]
    assert suspicion == sorted(suspicion, reverse=True)
    for one in content['samples']:
        labels = [other['label'] for other in one['neighbors']]
        assert len(labels) == 10
        assert one['soft'] == pytest.approx(labels.count(one['label']) / 10)
        assert one['anti'] == (one['label'] not in labels)
        against = labels.count(one['suggested']) / 10 if one['soft'] < 1 else 0
        assert one['suspicion'] == pytest.approx(against - one['soft'])
        assert one['path'] is None
        distances = [other['distance'] for other in one['neighbors']]
        assert distances == sorted(distances)


def test_the_table_holds_the_same_rows(suspects):
    samples = content_of(suspects)['samples']
    with (suspects / 'hard_samples.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [int(row['image']) for row in rows] == [one['image'] for one in samples]
    assert [float(row['soft']) for row in rows] == [one['soft'] for one in samples]
    assert rows[0]['rank'] == '1'
    assert rows[0]['neighbor_images'].split() == [
        str(other['image']) for other in samples[0]['neighbors']
    ]


def test_the_sheet_shows_a_row_a_sample(suspects):
    sheet = cv2.imread(str(suspects / 'hard_samples.png'))
    assert 300 < sheet.shape[0] < 900  # three rows
    assert sheet.std() > 20
    assert f'pictures: {suspects}/hard_samples.png' in log_of(suspects)


@pytest.mark.parametrize(('task', 'length'), [('detection', 4), ('segmentation', 2)])
def test_boxes_and_pixels_are_listed_with_their_place(task, length, tmp_path):
    pytest.importorskip('mmdet' if task == 'detection' else 'mmseg')
    run(
        QUICKSTART / f'{task}.py', '--split', 'val', '--by', 'soft', '--layer', 'backbone[0]',
        '--order', 3, '--top', 5, '--pictured', 2, '--out', tmp_path,
        '--cfg-options', *SMALL, 'val_dataloader.dataset.num_scenes=8',
    )  # fmt: skip
    content = content_of(tmp_path)
    soft = [one['soft'] for one in content['samples']]
    assert soft == sorted(soft)
    for one in content['samples']:
        assert len(one['place']) == length
        assert all(other['image'] != one['image'] for other in one['neighbors'])
    assert (tmp_path / 'hard_samples.png').read_bytes()[:4] == b'\x89PNG'


def test_data_without_pictures_are_listed_all_the_same(tmp_path):
    run(TOY_CONFIG, '--layer', 'linear', '--order', 2, '--out', tmp_path)
    assert len(content_of(tmp_path)['samples']) == 8
    assert not (tmp_path / 'hard_samples.png').exists()
    assert 'pictures: none' in log_of(tmp_path)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((), 'ToyClassifier has no backbone'),
        (('--layer', 'linear', '--top', 0), 'top of at least 1'),
        (('--layer', 'liner'), 'Close names: linear'),
    ],
)
def test_bad_input_gives_one_message(arguments, message, tmp_path):
    with pytest.raises(SystemExit) as failure:
        run(TOY_CONFIG, *arguments, '--out', tmp_path)
    assert str(failure.value).startswith('error: ')
    assert message in str(failure.value)


def test_the_file_of_an_image_is_named_where_there_is_one():
    dataset = SimpleNamespace(get_data_info=lambda image: dict(img_path=f'{image}.jpg'))
    assert image_path(SimpleNamespace(dataset=dataset), 3) == '3.jpg'
    assert image_path(SimpleNamespace(dataset=[1, 2]), 0) is None
