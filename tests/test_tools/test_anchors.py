import json

import pytest

pytest.importorskip('mmdet')

from tests.test_tools.tools import ROOT, load_tool


@pytest.fixture
def annotations(tmp_path):
    boxes = [[0, 0, 20, 20], [5, 5, 20, 20], [0, 0, 80, 40], [9, 9, 80, 40]]
    content = dict(
        images=[dict(id=1, width=100, height=100, file_name='a.jpg')],
        categories=[dict(id=1, name='person')],
        annotations=[
            dict(id=i, image_id=1, category_id=1, bbox=box, area=box[2] * box[3], iscrowd=0)
            for i, box in enumerate(boxes)
        ],
    )
    path = tmp_path / 'boxes.json'
    path.write_text(json.dumps(content))
    return path


def test_anchors_of_a_config(annotations, tmp_path, capsys):
    out = tmp_path / 'anchors.json'
    load_tool('analysis_tools/anchors').main(
        [
            str(ROOT / 'configs/yolov2/yolov2_d19_8xb8-ms-160e_coco.py'),
            '--num-anchors', '2', '--input-size', '200', '200', '--stride', '10',
            '--out', str(out),
            '--cfg-options', f'train_dataloader.dataset.ann_file={annotations}',
            'train_dataloader.dataset.data_root=',
        ]
    )  # fmt: skip
    result = json.loads(out.read_text())
    assert result['anchors'] == [[4, 4], [16, 8]]
    assert result['mean_iou'] == 1
    assert result['num_boxes'] == 4
    assert 'anchors=[(4.0, 4.0), (16.0, 8.0)]' in capsys.readouterr().out


def test_impossible_number_ends_with_a_message(annotations):
    with pytest.raises(SystemExit, match='cannot find 9 anchors among 2 different box sizes'):
        load_tool('analysis_tools/anchors').main(
            [
                str(ROOT / 'configs/yolov2/yolov2_d19_8xb8-ms-160e_coco.py'),
                '--num-anchors', '9',
                '--cfg-options', f'train_dataloader.dataset.ann_file={annotations}',
                'train_dataloader.dataset.data_root=',
            ]
        )  # fmt: skip
