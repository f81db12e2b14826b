"""Two processes on the CPU learn what one does from the doubled batch."""
import os
import subprocess
import sys
from pathlib import Path

import torch

from ovd.engine.checkpoints import find_checkpoint

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / 'tests/data/configs/vild_equal_gradients.py')


def run(road: Path, *command: str) -> None:
    environment = dict(
        os.environ,
        PYTHON=sys.executable,
        CUDA_VISIBLE_DEVICES='',
        PYTHONPATH=f'{ROOT}:{ROOT / "tests/data"}',
        OMP_NUM_THREADS='1')
    done = subprocess.run(
        command,
        cwd=road,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True)
    assert done.returncode == 0, done.stdout[-5000:]


def weights(work_dir: Path) -> dict:
    return torch.load(
        work_dir / 'iter_3.pth', weights_only=True)['state_dict']


def test_two_processes_sum_the_gradients_of_the_doubled_batch(
        road: Path, tmp_path: Path) -> None:
    one, two = tmp_path / 'one', tmp_path / 'two'
    run(road, sys.executable, str(ROOT / 'tools/train.py'), CONFIG,
        '--work-dir', str(one), '--cfg-options',
        'train_dataloader.batch_size=8')
    run(road, 'sh', str(ROOT / 'tools/dist_train.sh'), CONFIG, '2',
        '--work-dir', str(two), '--cfg-options',
        'train_dataloader.batch_size=4')
    start = torch.load(
        find_checkpoint(str(road / 'work_dirs/miniature/rpn')),
        weights_only=True)['state_dict']
    moved = 0
    for name, weight in weights(one).items():
        # Plain SGD: how far a weight went is the sum of its gradients.
        torch.testing.assert_close(
            weights(two)[name], weight, rtol=1e-4, atol=1e-5, msg=name)
        if name in start:
            moved += int((weight - start[name]).abs().max() > 1e-3)
    assert moved > 20
