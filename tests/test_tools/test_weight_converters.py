import pytest
import torch

pytest.importorskip('mmdet')

from tests.test_models.test_centernet_weights import random_file
from tests.test_tools.tools import ROOT, load_tool

SMALL = [
    'model.backbone.downsample_times=2',
    'model.backbone.stage_channels=[8,8,12]',
    'model.backbone.stage_blocks=[2,1,2]',
    'model.backbone.feat_channel=8',
    'model.bbox_head.in_channels=8',
    'model.bbox_head.feat_channels=8',
    'model.bbox_head.num_classes=3',
]
CONFIG = ROOT / 'configs' / 'centernet' / 'centernet_hg104_8xb3-crop512-50e_coco.py'


def run(*arguments):
    load_tool('model_converters/centernet').main([*map(str, arguments), '--cfg-options', *SMALL])


def test_there_and_back(tmp_path, capsys):
    theirs = random_file()
    torch.save(dict(epoch=1, state_dict=theirs), tmp_path / 'theirs.pth')
    run(CONFIG, tmp_path / 'theirs.pth', tmp_path / 'ours.pth')
    assert f'wrote {tmp_path / "ours.pth"}' in capsys.readouterr().out
    ours = torch.load(tmp_path / 'ours.pth', weights_only=True)['state_dict']
    assert torch.equal(ours['backbone.stem.0.conv.weight'], theirs['pre.0.conv.weight'])
    run(CONFIG, tmp_path / 'ours.pth', tmp_path / 'again.pth', '--back')
    again = torch.load(tmp_path / 'again.pth', weights_only=True)
    assert again.keys() == theirs.keys()
    assert all(torch.equal(again[name], theirs[name]) for name in theirs)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"none\.pth' does not exist"):
        run(CONFIG, tmp_path / 'none.pth', tmp_path / 'ours.pth')


@pytest.mark.parametrize('name', ['centernet', 'efficientdet'])
def test_help_tells_what_is_converted(name, capsys):
    with pytest.raises(SystemExit):
        load_tool(f'model_converters/{name}').main(['--help'])
    assert '--back' in capsys.readouterr().out
