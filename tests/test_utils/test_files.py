import pytest

from mmlayerwise.utils.files import write_atomically


def test_the_file_appears_whole(tmp_path):
    target = tmp_path / 'deep' / 'result.json'
    with write_atomically(target) as temporary:
        temporary.write_text('{}')
        assert not target.exists()
    assert target.read_text() == '{}'
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / 'result.json'
    target.write_text('old')
    with pytest.raises(RuntimeError, match='half way'), write_atomically(target) as temporary:
        temporary.write_text('new')
        raise RuntimeError('half way')
    assert target.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [target]
