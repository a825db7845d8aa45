import pytest
import torch
from torch.utils.data import DataLoader

from mmlayerwise.utils.errors import UserError, explain, report_errors


class Failing(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise UserError('image a.jpg: replace it')


def test_a_user_error_ends_the_program_with_one_message():
    with pytest.raises(SystemExit) as stop, report_errors():
        raise UserError('no data; set data_root')
    assert stop.value.code == 'error: no data; set data_root'


@pytest.mark.parametrize('workers', [0, 1])
def test_an_error_in_a_worker_has_the_same_message(workers):
    with pytest.raises(SystemExit) as stop, report_errors():
        next(iter(DataLoader(Failing(), num_workers=workers)))
    assert stop.value.code == 'error: image a.jpg: replace it'


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), report_errors():
        raise ZeroDivisionError
    with pytest.raises(IndexError), report_errors():
        [][0]


def test_the_traceback_can_be_asked_for(monkeypatch):
    monkeypatch.setenv('MMLAYERWISE_TRACEBACK', '1')
    with pytest.raises(UserError), report_errors():
        raise UserError('no data')


def test_a_label_beyond_the_classes_is_explained():
    with pytest.raises(IndexError) as raised:
        torch.nn.functional.cross_entropy(torch.zeros(1, 3), torch.tensor([7]))
    message = explain(raised.value)
    assert 'a label in the annotations is 7' in message
    assert 'num_classes' in message


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError) as raised:
        open('/no/such/file')  # noqa: SIM115
    assert explain(raised.value) == "file '/no/such/file' does not exist"
