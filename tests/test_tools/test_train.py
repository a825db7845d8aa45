import pytest
import torch

from tests.test_tools.tools import TOY_CONFIG, load_tool, log_of

train = load_tool('train')


def run(*argv):
    train.main([str(argument) for argument in argv])


def test_training_writes_checkpoints_and_says_where(tmp_path):
    run(TOY_CONFIG, '--work-dir', tmp_path)
    weights = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['state_dict']
    assert weights['linear.weight'].shape == (2, 4)
    assert f'Checkpoints and logs go to {tmp_path}' in log_of(tmp_path)


def test_the_work_directory_is_named_after_the_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(TOY_CONFIG)
    assert (tmp_path / 'work_dirs' / 'toy_config' / 'epoch_1.pth').is_file()


def test_the_work_directory_of_the_config_yields_to_the_option_only(tmp_path):
    run(TOY_CONFIG, '--cfg-options', f'work_dir={tmp_path / "named"}')
    assert (tmp_path / 'named' / 'epoch_1.pth').is_file()


def test_options_override_the_config(tmp_path):
    run(TOY_CONFIG, '--work-dir', tmp_path, '--cfg-options', 'train_cfg.max_epochs=2')
    assert (tmp_path / 'epoch_2.pth').is_file()


def test_resume_continues_from_the_latest_checkpoint(tmp_path):
    run(TOY_CONFIG, '--work-dir', tmp_path)
    run(TOY_CONFIG, '--work-dir', tmp_path, '--resume', '--cfg-options', 'train_cfg.max_epochs=3')
    whole = tmp_path / 'whole'
    run(TOY_CONFIG, '--work-dir', whole, '--cfg-options', 'train_cfg.max_epochs=3')
    resumed = torch.load(tmp_path / 'epoch_3.pth', weights_only=True)
    uninterrupted = torch.load(whole / 'epoch_3.pth', weights_only=True)
    assert resumed['meta']['iter'] == uninterrupted['meta']['iter'] == 12
    assert f'training continues from {tmp_path / "epoch_1.pth"}' in log_of(tmp_path)


def test_resume_from_a_named_checkpoint(tmp_path):
    run(TOY_CONFIG, '--work-dir', tmp_path / 'a')
    named = tmp_path / 'a' / 'epoch_1.pth'
    run(
        TOY_CONFIG, '--work-dir', tmp_path / 'b', '--resume', named,
        '--cfg-options', 'train_cfg.max_epochs=2',
    )  # fmt: skip
    assert torch.load(tmp_path / 'b' / 'epoch_2.pth', weights_only=True)['meta']['iter'] == 8
    assert not (tmp_path / 'b' / 'epoch_1.pth').exists()


def test_resume_in_an_empty_work_directory_starts_fresh(tmp_path):
    run(TOY_CONFIG, '--work-dir', tmp_path, '--resume')
    assert (tmp_path / 'epoch_1.pth').is_file()
    assert f'no checkpoint in {tmp_path} yet, so training starts fresh' in log_of(tmp_path)


def test_a_fresh_start_keeps_the_pretrained_weights_of_the_config(tmp_path):
    run(TOY_CONFIG, '--work-dir', tmp_path / 'a')
    pretrained = tmp_path / 'a' / 'epoch_1.pth'
    run(
        TOY_CONFIG, '--work-dir', tmp_path / 'b', '--resume',
        '--cfg-options', f'load_from={pretrained}', 'optim_wrapper.optimizer.lr=0',
    )  # fmt: skip
    before = torch.load(pretrained, weights_only=True)['state_dict']
    after = torch.load(tmp_path / 'b' / 'epoch_1.pth', weights_only=True)['state_dict']
    torch.testing.assert_close(after['linear.weight'], before['linear.weight'], rtol=0, atol=0)


def test_synchronised_normalisation_becomes_ordinary_in_one_process(tmp_path):
    run(TOY_CONFIG, '--work-dir', tmp_path, '--cfg-options', 'model.sync_bn=True')
    assert (tmp_path / 'epoch_1.pth').is_file()
    assert 'reverted to BatchNormXd' in log_of(tmp_path)


def test_the_learning_rate_scales_with_the_batch_size(tmp_path):
    run(
        TOY_CONFIG, '--work-dir', tmp_path, '--auto-scale-lr',
        '--cfg-options', 'auto_scale_lr.base_batch_size=8',
    )  # fmt: skip
    # 0.1 for a batch of 8 is 0.025 for the toy's batch of 2.
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    assert saved['optimizer']['param_groups'][0]['lr'] == pytest.approx(0.025)


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (['no_such.py'], "config 'no_such.py' does not exist"),
        ([TOY_CONFIG[:-4] + '.py'], 'did you mean toy_config.py'),
        (['mmdet::retinanet/retinanet_r18.py'], 'did you mean retinanet_r18'),
        (['nosuchpackage::a/b.py'], "package 'nosuchpackage' is not installed"),
        ([TOY_CONFIG, '--resume', 'gone.pth'], "checkpoint 'gone.pth' does not exist"),
        ([TOY_CONFIG, '--auto-scale-lr'], 'auto_scale_lr=dict(base_batch_size='),
    ],
)
def test_bad_arguments_give_one_message(argv, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as failure:
        run(*argv)
    assert str(failure.value).startswith('error: ')
    assert message in str(failure.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has an accelerator')
def test_mixed_precision_on_the_cpu_is_refused(tmp_path):
    with pytest.raises(SystemExit, match='--amp needs an accelerator'):
        run(TOY_CONFIG, '--work-dir', tmp_path, '--amp')


@pytest.mark.gpu
def test_mixed_precision(tmp_path):
    run(TOY_CONFIG, '--work-dir', tmp_path, '--amp')
    assert 'loss_scaler' in torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['optimizer']


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit):
        run('--help')
    text = capsys.readouterr().out
    for option in ('--work-dir', '--resume', '--amp', '--auto-scale-lr', '--cfg-options'):
        assert option in text
    assert '{none,pytorch,slurm,mpi}' in text


def test_both_spellings_of_the_local_rank_are_taken():
    assert train.parse_args(['c.py', '--local-rank', '3']).local_rank == 3
    assert train.parse_args(['c.py', '--local_rank=2']).local_rank == 2
