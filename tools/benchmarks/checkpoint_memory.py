"""How much memory a checkpoint takes while it is saved.

    python tools/benchmarks/checkpoint_memory.py [--megabytes 300]

trains one iteration of a model with AdamW, saves, and prints as JSON the size
of the file, by how much the process grew at the peak, and that as a part of
the size. Linux only.
"""

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Dict

import resumable_job
import torch
from mmdet.registry import MODELS
from torch import nn

from ovd.engine.hooks import AtomicCheckpointHook
from ovd.engine.launch import build_runner

STATUS = Path('/proc/self/status')
KEPT = 3  # weights, and two moments of each
LAYERS = 16


@MODELS.register_module(name='_LargeModel', force=True)
class LargeModel(resumable_job.NoisyModel):
    """The job's, with layers that are saved and get a zero gradient.

    Args:
        size (int): Numbers in these layers.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.large = nn.ParameterList(
            nn.Parameter(torch.zeros(size // LAYERS)) for _ in range(LAYERS)
        )

    def forward(self, inputs, index, mode='tensor'):
        losses = super().forward(inputs, index, mode)
        idle = sum(part.sum() for part in self.large)
        return dict(loss=losses['loss'] + 0 * idle)


def memory(line: str) -> int:
    """Return the bytes of a line of what Linux tells of this process."""
    return 1024 * int(re.search(rf'{line}:\s+(\d+) kB', STATUS.read_text())[1])


def measure(megabytes: int) -> Dict[str, float]:
    """Return the size of a checkpoint, and the peak while it is saved."""
    with tempfile.TemporaryDirectory() as folder:
        cfg = resumable_job.make_config(folder)
        cfg.model = dict(
            type='_LargeModel', size=megabytes * 1_000_000 // 4 // KEPT
        )
        cfg.train_cfg.max_epochs = 1
        cfg.default_hooks.checkpoint.update(interval=-1, save_last=False)
        runner = build_runner(cfg)
        runner.train()
        hook = next(
            h for h in runner.hooks if isinstance(h, AtomicCheckpointHook)
        )
        Path('/proc/self/clear_refs').write_text('5')  # forget the peak
        before = memory('VmRSS')
        path = hook.save_now(runner, runner.iter)
        grown = memory('VmHWM') - before
        size = Path(path).stat().st_size
    return dict(
        device=str(next(runner.model.parameters()).device),
        checkpoint_mb=size / 1e6,
        grown_mb=grown / 1e6,
        copies=grown / size,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition('\n')[0],
        epilog='example: '
        'python tools/benchmarks/checkpoint_memory.py --megabytes 1000',
    )
    parser.add_argument(
        '--megabytes',
        type=int,
        default=300,
        help='size of the checkpoint, about',
    )
    args = parser.parse_args()
    if sys.platform != 'linux':
        sys.exit('error: the peak of the memory is told by Linux alone')
    print(json.dumps(measure(args.megabytes)))


if __name__ == '__main__':
    main()
