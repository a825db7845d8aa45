import json

import pytest

from tests.test_tools.tools import ROOT, load_tool


def write(folder, name, **changes):
    result = {
        'config': str(folder / 'configs' / f'{name}.py'),
        'metric': 'mIoU',
        'target': 90.0,
        'reached': True,
        'final': {'step': 75, 'value': 91.38},
        'settings': {'num_images': 4, 'image_size': [240, 176], 'crop': [80, 180, 160, 120]},
        'num_parameters': 11527808,
    }
    (folder / f'{name}.json').write_text(json.dumps({**result, **changes}))


def run(*arguments):
    load_tool('dev/overfit_table').main([str(one) for one in arguments])


@pytest.fixture
def document(tmp_path):
    path = tmp_path / 'docs' / 'page.md'
    path.parent.mkdir()
    path.write_text('before\n<!-- overfit: begin -->\n<!-- overfit: end -->\nbehind\n')
    return path


def test_the_table_says_what_was_learned_and_what_was_reached(tmp_path, document):
    write(tmp_path, 'gcn')
    write(tmp_path, 'sdn', settings={'num_images': 2, 'image_size': [384, 288]})
    write(tmp_path, 'unet', reached=False, final={'step': 300, 'value': 35.05})
    write(tmp_path, 'yolov2', metric='coco/bbox_mAP_50')
    run('mIoU', document, '--results', tmp_path)
    before, header, rule, *lines, behind = document.read_text().splitlines()[1:-1]
    assert (before, behind) == ('<!-- overfit: begin -->', '<!-- overfit: end -->')
    assert header.count('|') == rule.count('|') == 7
    windows = '4 windows of 160x120 | 240x176 | 11.53 M'
    assert lines == [
        f'| [gcn](../configs/gcn.py) | {windows} | 75 | [91.4](../gcn.png) |',
        '| [sdn](../configs/sdn.py) | 2 images | 384x288 | 11.53 M | 75 | [91.4](../sdn.png) |',
        f'| [unet](../configs/unet.py) | {windows} | 300 | [35.0](../unet.png) (not 90) |',
    ]
    run('mIoU', document, '--results', tmp_path, '--check')


def test_a_stale_table_is_found(tmp_path, document):
    write(tmp_path, 'gcn')
    with pytest.raises(SystemExit, match=r'page\.md is stale: run "python .* mIoU'):
        run('mIoU', document, '--results', tmp_path, '--check')


def test_a_metric_without_results_is_named(tmp_path, document):
    with pytest.raises(SystemExit, match=r'has no result by mIoU; run tools/dev/overfit\.py'):
        run('mIoU', document, '--results', tmp_path)


def test_the_table_of_the_segmentors_is_current(monkeypatch):
    monkeypatch.chdir(ROOT)
    run('mIoU', 'docs/segmentors.md', '--check')
