import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from mmlayerwise.utils.checkpoint_check import (
    check_checkpoint,
    find_latest_checkpoint,
    is_whole,
    load_safely,
)
from mmlayerwise.utils.errors import UserError


class Foreign:
    """A class that is on no allow-list."""


class Harmful:
    """Pickles as a call that leaves a trace."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def save(path: Path, **content) -> Path:
    torch.save({'state_dict': {'weight': torch.arange(2000.0)}, **content}, path)
    return path


def cut(path: Path, fraction: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    return path


def test_a_whole_checkpoint_passes(tmp_path):
    path = save(tmp_path / 'epoch_1.pth')
    assert is_whole(path)
    check_checkpoint(path)
    assert torch.equal(load_safely(path)['state_dict']['weight'], torch.arange(2000.0))


def test_a_checkpoint_of_the_old_format_passes(tmp_path):
    path = tmp_path / 'old.pth'
    torch.save({'weight': torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    check_checkpoint(path)


@pytest.mark.parametrize('fraction', [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_checkpoint_is_named(tmp_path, fraction):
    path = cut(save(tmp_path / 'epoch_1.pth'), fraction)
    assert not is_whole(path)
    for check in (check_checkpoint, load_safely):
        with pytest.raises(UserError, match=r'epoch_1\.pth is truncated .* use an earlier'):
            check(path)


def test_a_truncated_checkpoint_of_the_old_format_is_named(tmp_path):
    path = tmp_path / 'old.pth'
    torch.save({'weight': torch.ones(3000)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match=r'old\.pth is truncated'):
        check_checkpoint(cut(path))


def test_a_flipped_bit_is_found(tmp_path):
    path = save(tmp_path / 'epoch_1.pth')
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert not is_whole(path)
    with pytest.raises(UserError, match='truncated'):
        check_checkpoint(path)


@pytest.mark.parametrize(
    'content', [b'not a checkpoint', b'something else', pickle.dumps({'weight': 1})]
)
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content):
    path = tmp_path / 'notes.pth'
    path.write_bytes(content)
    with pytest.raises(UserError, match=r'notes\.pth is truncated or is no checkpoint of torch'):
        check_checkpoint(path)


def test_a_class_off_the_allow_list_is_named_with_the_mend(tmp_path):
    path = save(tmp_path / 'foreign.pth', extra=Foreign())
    with pytest.raises(UserError, match=r'Foreign.*add_safe_globals'):
        check_checkpoint(path)


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    path = save(tmp_path / 'harmful.pth', extra=Harmful(tmp_path / 'trace'))
    with pytest.raises(UserError, match=r'mkdir.*could run code'):
        check_checkpoint(path)
    assert not (tmp_path / 'trace').exists()


def test_something_else_than_weights_is_described(tmp_path):
    path = tmp_path / 'list.pth'
    torch.save([1, 2], path)
    with pytest.raises(UserError, match=r"it holds a list, expected .* 'state_dict'"):
        check_checkpoint(path)


def test_a_missing_checkpoint_lists_close_names(tmp_path):
    save(tmp_path / 'epoch_12.pth')
    with pytest.raises(UserError, match=r'epoch_1\.pth does not exist.*epoch_12\.pth'):
        check_checkpoint(tmp_path / 'epoch_1.pth')
    with pytest.raises(UserError, match='there is no folder'):
        check_checkpoint(tmp_path / 'nowhere' / 'epoch_1.pth')


def test_weights_alone_cannot_be_resumed(tmp_path):
    path = save(tmp_path / 'weights.pth')
    with pytest.raises(UserError, match=r"no 'meta', 'message_hub', 'optimizer'.*load_from"):
        check_checkpoint(path, resume=True)
    whole = save(tmp_path / 'epoch_1.pth', meta={}, message_hub={}, optimizer={})
    check_checkpoint(whole, resume=True)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    path = save(tmp_path / 'other.pth')
    with pytest.raises(UserError, match='checkpoint of another model: it has 0 of the'):
        check_checkpoint(path, model=nn.Linear(2, 2))
    torch.save({'state_dict': {'module.weight': torch.ones(2, 2)}}, path)
    check_checkpoint(path, model=nn.Linear(2, 2))


def test_a_model_is_tested_with_most_of_its_parameters_and_fine_tuned_with_any(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    # A seventh of the parameters, and all of the counters that every model has.
    weights = {'0.bias': torch.ones(2), '1.num_batches_tracked': torch.tensor(0)}
    path = save(tmp_path / 'part.pth')
    torch.save({'state_dict': weights}, path)
    check_checkpoint(path, model)
    with pytest.raises(UserError, match='it has 1 of the 6 parameters of Sequential'):
        check_checkpoint(path, model, whole_model=True)
    torch.save({'state_dict': {'1.num_batches_tracked': torch.tensor(0)}}, path)
    with pytest.raises(UserError, match='it has 0 of the 6 parameters'):
        check_checkpoint(path, model)


def test_addresses_are_left_to_the_loader():
    check_checkpoint('https://example.com/weights.pth')


def write_run(folder: Path, last: str | None, *names: str) -> None:
    for age, name in enumerate(names):
        os.utime(save(folder / name), (1000 + age, 1000 + age))
    if last is not None:
        (folder / 'last_checkpoint').write_text(last)


def test_the_latest_is_the_one_that_last_checkpoint_names(tmp_path):
    write_run(tmp_path, str(tmp_path / 'epoch_1.pth'), 'epoch_1.pth', 'epoch_2.pth')
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.pth')


def test_a_truncated_latest_is_passed_over_with_a_warning(tmp_path, monkeypatch):
    messages = []
    monkeypatch.setattr('mmengine.logging.print_log', lambda text, **_: messages.append(text))
    write_run(tmp_path, str(tmp_path / 'epoch_3.pth'), 'epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth')
    cut(tmp_path / 'epoch_3.pth')
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_2.pth')
    assert len(messages) == 1
    assert f'Skip {tmp_path}/epoch_3.pth: the file is truncated' in messages[0]


@pytest.mark.parametrize('last', [None, '', '/moved/elsewhere/epoch_9.pth'])
def test_without_a_usable_last_checkpoint_the_newest_whole_one_is_taken(tmp_path, last):
    write_run(tmp_path, last, 'iter_100.pth', 'iter_200.pth', 'best_acc_iter_200.pth')
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'iter_200.pth')


def test_a_moved_work_directory_finds_its_checkpoint(tmp_path):
    write_run(tmp_path, '/moved/from/epoch_1.pth', 'epoch_1.pth', 'epoch_2.pth')
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.pth')


def test_an_empty_work_directory_has_no_latest(tmp_path):
    assert find_latest_checkpoint(tmp_path) is None


def test_leftovers_of_a_killed_writer_are_removed_and_never_taken(tmp_path):
    write_run(tmp_path, None, 'epoch_1.pth', '.epoch_2-ab12cd_x.pth')
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.pth')
    assert sorted(file.name for file in tmp_path.iterdir()) == ['epoch_1.pth']
