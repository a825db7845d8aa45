from pathlib import Path

import pytest

from mmlayerwise.engine.compressed_files import whole_folder


def test_the_folder_appears_when_the_block_ends(tmp_path):
    with whole_folder(tmp_path / 'small') as temporary:
        (temporary / 'plan.json').write_text('new')
        assert not (tmp_path / 'small').exists()
    assert [path.name for path in tmp_path.iterdir()] == ['small']
    assert (tmp_path / 'small' / 'plan.json').read_text() == 'new'


@pytest.mark.parametrize('stop', [KeyboardInterrupt, RuntimeError])
def test_an_earlier_folder_stays_as_it_was_if_the_block_is_stopped(stop, tmp_path):
    earlier = tmp_path / 'small'
    earlier.mkdir()
    (earlier / 'plan.json').write_text('old')
    with pytest.raises(stop), whole_folder(earlier) as temporary:
        (temporary / 'plan.json').write_text('new')
        raise stop
    assert [path.name for path in tmp_path.iterdir()] == ['small']
    assert (earlier / 'plan.json').read_text() == 'old'


def test_an_earlier_folder_comes_back_if_it_cannot_be_replaced(tmp_path, monkeypatch):
    earlier = tmp_path / 'small'
    earlier.mkdir()
    (earlier / 'plan.json').write_text('old')
    rename = Path.rename

    def stopped(path, target):
        if Path(target).name == 'small' and not path.name.endswith('-old'):
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, 'rename', stopped)
    with pytest.raises(KeyboardInterrupt), whole_folder(earlier):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ['small']
    assert (earlier / 'plan.json').read_text() == 'old'


def test_what_a_killed_process_left_is_removed(tmp_path):
    left = tmp_path / '.run [1]-compression-killed'
    other = tmp_path / '.run 1-compression-another'
    left.mkdir()
    other.mkdir()
    with whole_folder(tmp_path / 'run [1]'):
        assert not left.exists()
    assert other.exists()
