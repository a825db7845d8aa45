import os
import pickle

import numpy as np
import pytest

from mmlayerwise.datasets.array_pickle import load_array_pickle
from mmlayerwise.utils.errors import UserError

PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)


def python2_pickle() -> bytes:
    """What Python 2's cPickle writes, as the official files have it (strings are bytes)."""
    return (
        b'\x80\x02}q\x01('
        b'U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R'
        b'(K\x01K\x03K\x04\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R'
        b'(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89'
        b'U\x0c' + PIXELS.tobytes() + b'tb'
        b'U\x06labels](K\x06K\x09K\x01e'
        b'u.'
    )  # fmt: skip


def test_reads_what_python_2_wrote(tmp_path):
    path = tmp_path / 'batch'
    path.write_bytes(python2_pickle())
    content = load_array_pickle(path)
    np.testing.assert_array_equal(content['data'], PIXELS)
    assert content['labels'] == [6, 9, 1]


@pytest.mark.parametrize('protocol', [2, 4])
@pytest.mark.parametrize('pixels', [PIXELS, np.asfortranarray(PIXELS)])
def test_reads_what_python_3_wrote(tmp_path, protocol, pixels):
    path = tmp_path / 'batch'
    content = {b'data': pixels, 'labels': [1, 2, 3], b'names': [b'a', 'b']}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    loaded = load_array_pickle(path)
    np.testing.assert_array_equal(loaded['data'], PIXELS)
    assert loaded['names'] == ['a', 'b']
    assert loaded['labels'] == [1, 2, 3]


class Malicious:
    """Makes a folder when it is unpickled by the ordinary loader."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


def test_runs_nothing_that_a_file_names(tmp_path):
    path, victim = tmp_path / 'batch', tmp_path / 'victim'
    path.write_bytes(pickle.dumps({'data': Malicious(victim)}))
    with pytest.raises(UserError, match=r'it wants to call (posix|nt)\.mkdir'):
        load_array_pickle(path)
    assert not victim.exists()
    pickle.loads(path.read_bytes())
    assert victim.exists(), 'the attack of this test must be one'


@pytest.mark.parametrize(
    'payload',
    [
        b'cnumpy\nload\n.',
        b'cnumpy.core.multiarray\nscalar\n.',
        b'c_codecs\ndecode\n.',
        b'c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.',
    ],
)
def test_refuses_what_only_looks_like_numpy(tmp_path, payload):
    path = tmp_path / 'batch'
    path.write_bytes(payload)
    with pytest.raises(UserError, match='not a CIFAR pickle'):
        load_array_pickle(path)


@pytest.mark.parametrize('length', [0, 1, 30, 100, len(python2_pickle()) - 1])
def test_truncated_files_are_explained(tmp_path, length):
    path = tmp_path / 'batch'
    path.write_bytes(python2_pickle()[:length])
    with pytest.raises(UserError, match='download it again'):
        load_array_pickle(path)


@pytest.mark.parametrize('content', [b'<html>not found</html>', b'\x1f\x8b\x08' + bytes(50)])
def test_other_files_are_explained(tmp_path, content):
    path = tmp_path / 'batch'
    path.write_bytes(content)
    with pytest.raises(UserError, match=r'batch is .*not a CIFAR pickle'):
        load_array_pickle(path)


def test_arrays_of_another_type_are_refused(tmp_path):
    path = tmp_path / 'batch'
    path.write_bytes(pickle.dumps({'data': np.zeros(3)}, protocol=2))
    with pytest.raises(UserError, match="type 'f8' instead of uint8"):
        load_array_pickle(path)


def test_something_else_than_a_dict_is_refused(tmp_path):
    path = tmp_path / 'batch'
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(UserError, match='holds a list where a dict was expected'):
        load_array_pickle(path)
