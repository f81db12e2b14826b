"""Tasks of Slurm train and test, as the scripts ask srun to start them.

What the scripts ask srun for: test_launchers.py. Here what they give it, a
command and variables, is run as two tasks with Slurm's own variables.
"""

import json
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest
import torch

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / 'tools/benchmarks'))
from fault_processes import Child  # noqa: E402

SRUN = """#!/bin/sh
printf '%s\\0' "$@" >call
env -0 >variables
"""
JOB = """
from mmdet.registry import METRICS, MODELS
from mmengine.evaluator import BaseMetric
import resumable_job

@MODELS.register_module()
class SlurmModel(resumable_job.NoisyModel):
    def forward(self, inputs, index, mode='tensor'):
        if mode == 'loss':
            return super().forward(inputs, index, mode)
        return [int(i) for i in index]

@METRICS.register_module()
class SlurmMetric(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += data_samples
    def compute_metrics(self, results):
        return dict(seen=len(set(results)))
"""
# Without a base of mmdet, whose metafiles take the host seconds to read
CONFIG = """
default_scope = 'mmdet'
custom_imports = dict(imports=['ovd', 'slurm_job'])
model = dict(type='SlurmModel')
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
train_dataloader = dict(
    batch_size=2, num_workers=0, dataset=dict(type='_NoisyPoints'),
    sampler=dict(type='DefaultSampler', shuffle=True))
default_hooks = dict(
    checkpoint=dict(type='AtomicCheckpointHook', interval=2, by_epoch=False),
    exact_resume=dict(type='ExactResumeHook'),
    plain_checkpoint=dict(type='PlainCheckpointHook'))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
test_cfg = dict(type='TestLoop')
test_dataloader = dict(
    batch_size=2, num_workers=0, dataset=dict(type='_NoisyPoints'),
    sampler=dict(type='DefaultSampler', shuffle=False))
test_evaluator = dict(type='SlurmMetric')
"""


def read_words(path: Path) -> List[str]:
    return path.read_text().split('\0')[:-1]


def run_tasks(folder: Path, script: str, *words: str) -> None:
    """Start a script's tasks, forked, as importing all takes seconds."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    subprocess.run(
        ['sh', str(ROOT / 'tools' / script), 'gpu', 'job', 'tiny.py', *words],
        cwd=folder,
        check=True,
        env=dict(
            os.environ,
            PATH=f'{folder}:{os.environ["PATH"]}',
            GPUS='2',
            PYTHON=sys.executable,
            PORT=str(port),
            CUDA_VISIBLE_DEVICES='',
        ),
    )
    call = read_words(folder / 'call')
    variables = dict(
        line.split('=', 1) for line in read_words(folder / 'variables')
    )
    place = call.index(sys.executable)
    assert '--ntasks=2' in call[:place] and call[place + 1] == '-u'

    def work() -> None:
        torch.set_num_threads(1)
        os.chdir(folder)
        sys.path[:0] = [str(folder), *variables['PYTHONPATH'].split(':')]
        sys.argv = call[place + 2 :]
        runpy.run_path(sys.argv[0], run_name='__main__')

    tasks = []
    for task in range(2):
        own: Dict[str, str] = dict(
            SLURM_NTASKS='2',
            SLURM_PROCID=str(task),
            SLURM_LOCALID=str(task),
            SLURM_NODELIST='localhost',
            SLURM_JOB_ID='7',
        )
        tasks.append(Child(work, folder / f'log_{task}', {**variables, **own}))
    for task in tasks:
        assert task.wait() == 0, task.output


@pytest.mark.skipif(
    torch.cuda.is_available(), reason='a process that was forked has no GPU'
)
def test_train_and_test(tmp_path: Path) -> None:
    """Each of two tasks has its part of the points."""
    (tmp_path / 'srun').write_text(SRUN)
    (tmp_path / 'srun').chmod(0o755)
    (tmp_path / 'slurm_job.py').write_text(JOB)
    (tmp_path / 'tiny.py').write_text(CONFIG)
    run_tasks(tmp_path, 'slurm_train.sh', 'run')
    position = torch.load(tmp_path / 'run/iter_2.pth', weights_only=True)[
        'meta'
    ]['position']
    assert position == dict(num_batches=2, batch_size=2, world_size=2)
    run_tasks(tmp_path, 'slurm_test.sh', 'run', '--metrics', 'metrics.json')
    assert json.loads((tmp_path / 'metrics.json').read_text())['seen'] == 40
