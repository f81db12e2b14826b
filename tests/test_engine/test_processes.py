"""What a task of Slurm is told, and what a launcher was."""

import os
from pathlib import Path

import pytest

from ovd.engine.processes import count_launcher_signals, take_slurm_variables

NAMES = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Environment of the sixth of eight tasks on two nodes."""
    for name in [*NAMES, 'SLURM_STEP_NODELIST', 'SLURM_STEP_ID']:
        monkeypatch.setenv(name, '')  # so that it is restored
        monkeypatch.delenv(name)
    for name, value in dict(
        PROCID='5',
        NTASKS='8',
        LOCALID='1',
        JOB_ID='123456',
        NODELIST='gpu[07-08]',
    ).items():
        monkeypatch.setenv(f'SLURM_{name}', value)
    return monkeypatch


def test_variables_of_a_task(task: pytest.MonkeyPatch) -> None:
    take_slurm_variables()
    assert [os.environ[name] for name in NAMES] == [
        '5',
        '8',
        '1',
        'gpu07',
        '23456',
    ]


@pytest.mark.parametrize(
    ('nodes', 'first'),
    [
        ('alone', 'alone'),
        ('one,two', 'one'),
        ('node[3,5-7],login', 'node3'),
        ('rack[1-2]-node[03-04]', 'rack1-node03'),
        ('a[1-2].cluster.org', 'a1.cluster.org'),
    ],
)
def test_first_node_of_the_step_is_asked(
    task: pytest.MonkeyPatch, nodes: str, first: str
) -> None:
    task.setenv('SLURM_STEP_NODELIST', nodes)
    take_slurm_variables()
    assert os.environ['MASTER_ADDR'] == first


def test_rendezvous_of_the_user_is_kept(task: pytest.MonkeyPatch) -> None:
    task.setenv('MASTER_ADDR', '10.0.0.1')
    task.setenv('MASTER_PORT', '4321')
    take_slurm_variables()
    assert os.environ['MASTER_ADDR'] == '10.0.0.1'
    assert os.environ['MASTER_PORT'] == '4321'


def test_outside_of_a_task(task: pytest.MonkeyPatch) -> None:
    task.delenv('SLURM_PROCID')
    with pytest.raises(ValueError, match='not set: SLURM_PROCID'):
        take_slurm_variables()


def test_signals_of_a_launcher(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One byte for each."""
    monkeypatch.delenv('OVD_LAUNCHER_SIGNALS', raising=False)
    assert count_launcher_signals() == 0
    monkeypatch.setenv('OVD_LAUNCHER_SIGNALS', str(tmp_path / 'signals'))
    assert count_launcher_signals() == 0  # it is gone
    (tmp_path / 'signals').write_bytes(b'..')
    assert count_launcher_signals() == 2
