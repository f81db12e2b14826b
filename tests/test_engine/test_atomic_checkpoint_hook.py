"""There is always a whole checkpoint, and the pointer points to one."""

import copy
import errno
import sys
from pathlib import Path
from typing import List, Optional

import pytest
import torch
from mmengine.runner import Runner

from ovd.engine.checkpoints import find_checkpoint
from ovd.engine.hooks import AtomicCheckpointHook
from ovd.engine.launch import build_runner
from ovd.engine.resuming import prepare_training
from ovd.user_errors import one_line_errors

sys.path.append(str(Path(__file__).parents[2] / 'tools/benchmarks'))
from resumable_job import make_config  # noqa: E402


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """A run that keeps one checkpoint; one is due every 20 iterations."""
    cfg = make_config(str(tmp_path))
    cfg.default_hooks.checkpoint.update(
        interval=20, max_keep_ckpts=1, save_best='ap', rule='greater'
    )
    return build_runner(cfg)


def names(folder: Path) -> List[str]:
    return sorted(path.name for path in folder.glob('*.pth'))


def test_the_old_one_goes_after_the_new_one_is_there(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = []
    save = Runner.save_checkpoint

    def watch(*args, **kwargs) -> None:
        there.append(names(tmp_path))
        save(*args, **kwargs)
        there.append(names(tmp_path))

    monkeypatch.setattr(Runner, 'save_checkpoint', watch)
    runner.train()
    assert there == [
        [],
        ['iter_20.pth'],
        ['iter_20.pth'],
        ['iter_20.pth', 'iter_40.pth'],
    ]
    assert names(tmp_path) == ['iter_40.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(
        tmp_path / 'iter_40.pth'
    )


def test_a_full_disk_leaves_the_previous_one(
    runner: Runner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    save = torch.save

    def fill_up(content: dict, file: object) -> None:
        if content['meta']['iter'] == 40:
            raise OSError(errno.ENOSPC, 'No space left on device')
        save(content, file)

    monkeypatch.setattr(torch, 'save', fill_up)
    with pytest.raises(SystemExit) as end, one_line_errors():
        runner.train()
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert f'no room for checkpoint {tmp_path}/iter_40.pth' in message
    assert f'{tmp_path}/iter_20.pth is whole' in message
    assert names(tmp_path) == ['iter_20.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(
        tmp_path / 'iter_20.pth'
    )
    torch.load(tmp_path / 'iter_20.pth', weights_only=True)


def test_the_best_one_is_replaced_by_a_better_one(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.train()
    hook = next(h for h in runner.hooks if isinstance(h, AtomicCheckpointHook))
    hook.after_val_epoch(runner, dict(ap=1.0))
    best = Path(hook.best_ckpt_path)
    assert best.is_file()
    hook.after_val_epoch(runner, dict(ap=2.0))  # of the same iteration
    assert best.is_file()
    runner.train_loop._iter += 1
    save = Runner.save_checkpoint
    monkeypatch.setattr(
        Runner,
        'save_checkpoint',
        lambda *args, **kwargs: (
            save(*args, **kwargs),
            there.append(best.is_file()),
        ),
    )
    there: List[bool] = []
    hook.after_val_epoch(runner, dict(ap=3.0))
    assert there[0] and not best.is_file()
    assert Path(hook.best_ckpt_path).is_file()


def test_checkpoints_in_between_go_with_the_next_one(tmp_path: Path) -> None:
    cfg = make_config(str(tmp_path))
    cfg.default_hooks.checkpoint.update(
        interval=2, by_epoch=True, max_keep_ckpts=1
    )
    others = ['iter_7.pth', 'iter_best_of_mine.pth']  # none of this run's
    for name in others:
        (tmp_path / name).touch()
    runner = build_runner(cfg)
    hook = next(h for h in runner.hooks if isinstance(h, AtomicCheckpointHook))
    there: List[List[str]] = []
    after = hook.after_train_epoch

    def save_in_between(runner: Runner) -> None:
        after(runner)
        if runner.epoch == 2:  # between epochs 2 and 4
            hook.save_now(runner, runner.iter + 1)
        there.append(names(tmp_path))

    hook.after_train_epoch = save_in_between
    runner.train()
    assert there == [
        others,
        ['epoch_2.pth', *others],
        sorted(['epoch_2.pth', 'iter_31.pth', *others]),
        ['epoch_4.pth', *others],
    ]


def test_one_in_between_goes_when_the_run_that_it_ended_is_resumed(
    tmp_path: Path,
) -> None:
    def start(resume: Optional[str] = None) -> Runner:
        cfg = make_config(str(tmp_path))
        cfg.default_hooks.checkpoint.update(
            interval=4, by_epoch=True, max_keep_ckpts=1
        )
        prepare_training(cfg, resume)
        return build_runner(cfg)

    def end(runner: Runner) -> None:
        hook.save_now(runner, runner.iter + 1)
        raise Killed

    runner = start()
    hook = next(h for h in runner.hooks if isinstance(h, AtomicCheckpointHook))
    hook.after_train_epoch = end
    with pytest.raises(Killed):
        runner.train()
    assert len(names(tmp_path)) == 1
    assert names(tmp_path)[0].startswith('iter_')
    start('auto').train()
    assert names(tmp_path) == ['epoch_4.pth']


def test_no_room_for_the_best_one(
    runner: Runner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    runner.train()
    hook = next(h for h in runner.hooks if isinstance(h, AtomicCheckpointHook))

    def fill_up(descriptor: int) -> None:
        raise OSError(errno.EDQUOT, 'Disk quota exceeded')

    monkeypatch.setattr('os.fsync', fill_up)
    with pytest.raises(SystemExit), one_line_errors():
        hook.after_val_epoch(runner, dict(ap=1.0))
    message = capsys.readouterr().err
    assert f'no room for checkpoint {tmp_path}/best_ap_iter_40.pth' in message
    assert message.count('no room for checkpoint') == 1
    assert f'{tmp_path}/iter_40.pth is whole' in message


class Killed(BaseException):
    """Nothing that stands behind is done."""


@pytest.mark.parametrize(
    'settings',
    [dict(interval=20), dict(interval=2, by_epoch=True)],
    ids=['iterations', 'epochs'],
)
def test_killed_before_the_old_one_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict
) -> None:
    """It goes when the run is resumed, with what was half written."""

    def start(resume: Optional[str] = None) -> Runner:
        cfg = make_config(str(tmp_path))
        cfg.default_hooks.checkpoint.update(max_keep_ckpts=1, **settings)
        prepare_training(cfg, resume)
        return build_runner(cfg)

    def kill(*args: object) -> None:
        if len(names(tmp_path)) > 1:
            raise Killed

    (tmp_path / 'epoch_99.pth').touch()  # none of this run's
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(
            AtomicCheckpointHook,
            '_remove',
            lambda self, names: names and kill(),
        )
        start().train()
    old, new = (
        ('epoch_2.pth', 'epoch_4.pth')
        if 'by_epoch' in settings
        else ('iter_20.pth', 'iter_40.pth')
    )
    assert names(tmp_path) == sorted([old, new, 'epoch_99.pth'])
    (tmp_path / f'.{new}.a1b2.tmp').write_bytes(b'half')
    start('auto').train()
    assert names(tmp_path) == sorted([new, 'epoch_99.pth'])
    assert not list(tmp_path.glob('.*.tmp'))


def test_a_copied_checkpoint_removes_nothing(
    runner: Runner, tmp_path: Path
) -> None:
    """Its folder's files are of another run."""
    runner.train()
    other = tmp_path / 'other'
    other.mkdir()
    (other / 'iter_20.pth').touch()
    cfg = make_config(str(other))
    prepare_training(cfg, str(tmp_path / 'iter_40.pth'))
    build_runner(cfg).train()
    assert 'iter_20.pth' in names(other)
    assert names(tmp_path) == ['iter_40.pth']


@pytest.mark.parametrize('lost', [False, True])
def test_checkpoints_in_another_folder_are_found(
    tmp_path: Path, lost: bool
) -> None:
    cfg = make_config(str(tmp_path / 'run'))
    cfg.default_hooks.checkpoint.update(
        interval=20, out_dir=str(tmp_path / 'large')
    )
    first = copy.deepcopy(cfg)
    first.train_cfg.max_epochs = 2
    prepare_training(first, 'auto')
    build_runner(first).train()
    assert names(tmp_path / 'large' / 'run') == ['iter_20.pth']
    if lost:
        (tmp_path / 'run/last_checkpoint').write_text('')
    else:
        assert find_checkpoint(str(tmp_path / 'run')) == str(
            tmp_path / 'large/run/iter_20.pth'
        )
    prepare_training(cfg, 'auto')
    assert cfg.load_from == str(tmp_path / 'large/run/iter_20.pth')


@pytest.mark.parametrize(
    'options',
    [
        dict(out_dir='s3://bucket/runs'),
        dict(backend_args=dict(backend='petrel')),
        dict(file_client_args=dict(backend='disk')),
    ],
)
def test_a_remote_folder_is_refused(options: dict) -> None:
    with pytest.raises(
        ValueError,
        match='a local or mounted folder.*got.*'
        + next(iter(options))
        + '=.*type=CheckpointHook',
    ):
        AtomicCheckpointHook(**options)
