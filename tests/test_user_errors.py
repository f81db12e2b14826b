"""Errors of users take one line, ours keep their traceback."""

from datetime import timedelta
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
import torch.distributed as dist
from torch._utils import ExceptionWrapper

from ovd import user_errors
from ovd.datasets.transforms import LoadWholeImage
from ovd.engine.checkpoints import find_checkpoint
from ovd.engine.config_origins import read_config
from ovd.suggest import check_choice
from ovd.user_errors import one_line_errors, say_once


def config_with_a_typo(folder: Path) -> None:
    (folder / 'typo.py').write_text('model = dict(')
    read_config(str(folder / 'typo.py'))


def in_worker(fail: Callable, *args: object) -> None:
    """Raise as a data loader does what its worker raises."""
    try:
        fail(*args)
    except Exception:  # noqa: BLE001
        ExceptionWrapper(where='in DataLoader worker process 0').reraise()


@pytest.mark.parametrize(
    'fail, message',
    [
        (
            lambda folder: in_worker(check_choice, 'b', 'ac', 'kind'),
            'error: kind must be one of',
        ),
        (
            lambda folder: in_worker(open, folder / 'gone'),
            'error: [Errno 2] No',
        ),
        (
            lambda folder: check_choice('b', 'ac', 'kind'),
            'kind must be one of',
        ),
        (lambda folder: find_checkpoint(str(folder)), 'holds no checkpoint'),
        (lambda folder: open(folder / 'gone'), 'No such file'),
        (lambda folder: open(folder), 'Is a directory'),
        (config_with_a_typo, 'typo.py: SyntaxError'),
    ],
)
def test_errors_of_users(
    fail: Callable, message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as end, one_line_errors():
        fail(tmp_path)
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.startswith('error: ') and message in said
    assert said.count('\n') == 1


def test_an_error_of_our_own_kind_in_a_worker(
    capsys: pytest.CaptureFixture,
) -> None:
    """PyTorch names it with its module, and makes it of its text."""
    with pytest.raises(SystemExit), one_line_errors():
        in_worker(LoadWholeImage(), dict(img_path='gone.jpg'))
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith('error: gone.jpg cannot be used: FileNotFound')
    assert len(said) == 2 and said[1].endswith('--skip-broken')


@pytest.mark.parametrize(
    'fail, kind',
    [
        (lambda: np.zeros(3).reshape(2), ValueError),
        (lambda: in_worker(np.zeros(3).reshape, 2), ValueError),
        (lambda: {}['a'], KeyError),
        # inside of this package, but by no statement of its own
        (lambda: check_choice('a', 3), TypeError),
    ],
)
def test_bugs_keep_their_traceback(
    fail: Callable, kind: type, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(kind), one_line_errors():
        fail()
    assert capsys.readouterr().err == ''


def test_processes_of_a_job_say_it_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The store is that of torchrun's agent, which is another process."""
    agent = dist.TCPStore(
        '127.0.0.1', 0, is_master=True, wait_for_workers=False
    )
    monkeypatch.setenv('TORCHELASTIC_USE_AGENT_STORE', 'True')
    monkeypatch.setenv('MASTER_ADDR', '127.0.0.1')
    monkeypatch.setenv('MASTER_PORT', str(agent.port))
    for message in ('error: a', 'error: b', 'error: a'):
        say_once(message)
    assert capsys.readouterr().err == 'error: a\nerror: b\n'
    monkeypatch.setattr(user_errors, 'PATIENCE', timedelta(milliseconds=10))
    monkeypatch.setenv('MASTER_PORT', '1')
    say_once('error: a')
    assert capsys.readouterr().err == 'error: a\n'
