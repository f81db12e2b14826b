"""The commands that a person types to go on with a run."""

import os
import shlex
import sys
from pathlib import Path
from typing import List, Optional

from mmengine.config import Config

CONFIG_ENDINGS = ('.py', '.json', '.yaml', '.yml')  # those of the host


def command_to_resume() -> str:
    """Return the command that goes on with the run of this process."""
    tool, *options = sys.argv
    launcher = _take(options, '--launcher')
    _take(options, '--resume')  # perhaps from an older checkpoint
    variables: List[str] = []
    config = _take_config(options) if launcher else ''
    if launcher == 'pytorch':
        variables = _nodes()
        words = [
            'sh',
            _beside(tool, 'dist_train.sh'),
            config,
            os.environ.get('LOCAL_WORLD_SIZE', '1'),
            '--resume',
        ]
    elif launcher == 'slurm':
        work_dir = _take(options, '--work-dir') or 'WORK_DIR'
        variables = [f'GPUS={os.environ.get("SLURM_NTASKS", 1)}'] + [
            f'{name}={shlex.quote(os.environ[name])}'
            for name in ('GPUS_PER_NODE', 'CPUS_PER_TASK', 'SRUN_ARGS')
            if name in os.environ
        ]
        words = [
            'sh',
            _beside(tool, 'slurm_train.sh'),
            os.environ.get('SLURM_JOB_PARTITION', 'PARTITION'),
            os.environ.get('SLURM_JOB_NAME', 'JOB'),
            config,
            work_dir,
            '--resume',
        ]
    else:
        # Without "auto" the word behind would be taken for a checkpoint.
        words = ['python', tool, '--resume', 'auto']
    return ' '.join([*variables, shlex.join([*words, *options])])


def command_to_repeat(cfg: Config) -> str:
    """Return the command that goes on with a job that skips what is done.

    It needs no ``--resume``, and as many processes as one likes: it is that
    of one process.

    Args:
        cfg (Config): Of the job; it tells the command where this process was
            not started as one of ``tools/train.py``.
    """
    tool, *options = sys.argv
    if Path(tool).name == 'train.py':
        for name in ('--launcher', '--resume'):
            _take(options, name)
        return shlex.join(['python', tool, *options])
    words = [
        'python',
        'tools/train.py',
        os.path.relpath(cfg.filename) if cfg.filename else 'CONFIG',
    ]
    overrides = cfg.get('cfg_options')
    if overrides:
        words += ['--cfg-options', *overrides]
    return shlex.join(words)


def _beside(tool: str, script: str) -> str:
    return str(Path(tool).with_name(script))


def _nodes() -> List[str]:
    """Return what several machines are told, of this one."""
    nodes = int(os.environ.get('GROUP_WORLD_SIZE', 1))
    if nodes == 1:
        return []
    environ = os.environ
    return [
        f'NNODES={nodes}',
        f'NODE_RANK={environ.get("GROUP_RANK", 0)}',
        f'MASTER_ADDR={environ.get("MASTER_ADDR", "")}',
        f'PORT={environ.get("PORT", 29500)}',
    ]


def _take_config(options: List[str]) -> str:
    """Take the config, the first file that can be one, out of the words."""
    for ending in CONFIG_ENDINGS:
        for word in options:
            if word.endswith(ending) and '=' not in word:
                options.remove(word)
                return word
    return 'CONFIG'


def _take(options: List[str], name: str) -> Optional[str]:
    """Take an option and its value, if it has one, out of a command line."""
    for place, word in enumerate(options):
        if word.startswith(f'{name}='):
            del options[place]
            return word.partition('=')[2]
        if word == name:
            follows = options[place + 1 : place + 2]
            value = (
                follows[0]
                if follows and not follows[0].startswith('-')
                else None
            )
            del options[place : place + 1 + (value is not None)]
            return value
    return None
