"""What is told to a person whose run was ended."""

import sys
from typing import Dict, List

import pytest
from mmengine.config import Config

from ovd.engine.command_line import command_to_repeat, command_to_resume

SLURM = dict(
    SLURM_NTASKS='16', SLURM_JOB_PARTITION='gpu', SLURM_JOB_NAME='vild'
)


@pytest.mark.parametrize(
    'words, variables, expected',
    [
        (
            ['tools/train.py', 'a b.py'],
            {},
            "python tools/train.py --resume auto 'a b.py'",
        ),
        (
            ['tools/train.py', 'c.py', '--resume', 'x.pth', '--seed', '1'],
            {},
            'python tools/train.py --resume auto c.py --seed 1',
        ),
        (
            ['tools/train.py', 'c.py', '--resume=x.pth'],
            {},
            'python tools/train.py --resume auto c.py',
        ),
        (
            ['tools/train.py', '--seed', '1', 'c.py'],
            {},
            'python tools/train.py --resume auto --seed 1 c.py',
        ),
        (['mine.py'], {}, 'python mine.py --resume auto'),
        (
            ['tools/train.py', 'c.py', '--resume', '--cfg-options', 'a=1'],
            {},
            'python tools/train.py --resume auto c.py --cfg-options a=1',
        ),
        (
            [
                't/train.py',
                'c.py',
                '--launcher',
                'pytorch',
                '--cfg-options',
                'a=1',
            ],
            dict(LOCAL_WORLD_SIZE='8', GROUP_WORLD_SIZE='1'),
            'sh t/dist_train.sh c.py 8 --resume --cfg-options a=1',
        ),
        (
            ['t/train.py', 'c.py', '--launcher', 'pytorch'],
            dict(
                LOCAL_WORLD_SIZE='8',
                GROUP_WORLD_SIZE='2',
                GROUP_RANK='1',
                MASTER_ADDR='10.0.0.1',
                PORT='29600',
            ),
            'NNODES=2 NODE_RANK=1 MASTER_ADDR=10.0.0.1 PORT=29600 '
            'sh t/dist_train.sh c.py 8 --resume',
        ),
        (
            [
                't/train.py',
                'c.py',
                '--work-dir',
                'w d',
                '--launcher',
                'slurm',
                '--seed',
                '3',
            ],
            SLURM,
            "GPUS=16 sh t/slurm_train.sh gpu vild c.py 'w d' --resume "
            '--seed 3',
        ),
        # the config behind options, or none
        (
            ['t/train.py', '--seed', '3', 'c.py', '--launcher=pytorch'],
            dict(LOCAL_WORLD_SIZE='2', GROUP_WORLD_SIZE='1'),
            'sh t/dist_train.sh c.py 2 --resume --seed 3',
        ),
        (
            ['mine.py', '--launcher', 'pytorch', '--fast'],
            dict(LOCAL_WORLD_SIZE='2', GROUP_WORLD_SIZE='1'),
            'sh dist_train.sh CONFIG 2 --resume --fast',
        ),
    ],
)
def test_command_to_resume(
    monkeypatch: pytest.MonkeyPatch,
    words: List[str],
    variables: Dict[str, str],
    expected: str,
) -> None:
    monkeypatch.setattr(sys, 'argv', words)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert command_to_resume() == expected


@pytest.mark.parametrize(
    'words, expected',
    [
        (
            ['tools/train.py', 'a b.py', '--skip-broken'],
            "python tools/train.py 'a b.py' --skip-broken",
        ),
        (
            [
                't/train.py',
                'c.py',
                '--launcher',
                'pytorch',
                '--resume',
                '--seed',
                '1',
                '--cfg-options',
                'a=1',
            ],
            'python t/train.py c.py --seed 1 --cfg-options a=1',
        ),
        (
            ['mine.py', '--fast'],
            "python tools/train.py CONFIG --cfg-options 'a=b c'",
        ),
    ],
)
def test_command_to_repeat(
    monkeypatch: pytest.MonkeyPatch, words: List[str], expected: str
) -> None:
    monkeypatch.setattr(sys, 'argv', words)
    assert command_to_repeat(Config(dict(cfg_options=['a=b c']))) == expected
