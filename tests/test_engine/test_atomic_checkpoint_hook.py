"""There is always a whole checkpoint, and the pointer points to one."""
import errno
import sys
from pathlib import Path
from typing import List

import pytest
import torch
from mmengine.runner import Runner

from ovd.engine.hooks import AtomicCheckpointHook
from ovd.engine.launch import build_runner
from ovd.user_errors import one_line_errors

sys.path.append(str(Path(__file__).parents[2] / 'tools/benchmarks'))
from resumable_job import make_config  # noqa: E402


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """A run that keeps one checkpoint; one is due every 20 iterations."""
    cfg = make_config(str(tmp_path))
    cfg.default_hooks.checkpoint.update(
        interval=20, max_keep_ckpts=1, save_best='ap', rule='greater')
    return build_runner(cfg)


def names(folder: Path) -> List[str]:
    return sorted(path.name for path in folder.glob('*.pth'))


def test_the_old_one_goes_after_the_new_one_is_there(
        runner: Runner, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    there = []
    save = Runner.save_checkpoint

    def watch(*args, **kwargs) -> None:
        there.append(names(tmp_path))
        save(*args, **kwargs)
        there.append(names(tmp_path))

    monkeypatch.setattr(Runner, 'save_checkpoint', watch)
    runner.train()
    assert there == [[], ['iter_20.pth'], ['iter_20.pth'],
                     ['iter_20.pth', 'iter_40.pth']]
    assert names(tmp_path) == ['iter_40.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(
        tmp_path / 'iter_40.pth')


def test_a_full_disk_leaves_the_previous_one(
        runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture) -> None:
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
        tmp_path / 'iter_20.pth')
    torch.load(tmp_path / 'iter_20.pth', weights_only=True)


def test_the_best_one_is_replaced_by_a_better_one(
        runner: Runner, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    runner.train()
    hook = next(h for h in runner.hooks
                if isinstance(h, AtomicCheckpointHook))
    hook.after_val_epoch(runner, dict(ap=1.))
    best = Path(hook.best_ckpt_path)
    assert best.is_file()
    hook.after_val_epoch(runner, dict(ap=2.))  # of the same iteration
    assert best.is_file()
    runner.train_loop._iter += 1
    save = Runner.save_checkpoint
    monkeypatch.setattr(
        Runner, 'save_checkpoint', lambda *args, **kwargs:
        (save(*args, **kwargs), there.append(best.is_file())))
    there: List[bool] = []
    hook.after_val_epoch(runner, dict(ap=3.))
    assert there[0] and not best.is_file()
    assert Path(hook.best_ckpt_path).is_file()


def test_checkpoints_in_between_go_with_the_next_one(tmp_path: Path) -> None:
    cfg = make_config(str(tmp_path))
    cfg.default_hooks.checkpoint.update(
        interval=2, by_epoch=True, max_keep_ckpts=1)
    runner = build_runner(cfg)
    hook = next(h for h in runner.hooks
                if isinstance(h, AtomicCheckpointHook))
    there: List[List[str]] = []
    after = hook.after_train_epoch

    def save_in_between(runner: Runner) -> None:
        after(runner)
        if runner.epoch == 2:  # between epochs 2 and 4
            hook.save_now(runner, runner.iter + 1)
        there.append(names(tmp_path))

    hook.after_train_epoch = save_in_between
    runner.train()
    assert there == [[], ['epoch_2.pth'], ['epoch_2.pth', 'iter_31.pth'],
                     ['epoch_4.pth']]
