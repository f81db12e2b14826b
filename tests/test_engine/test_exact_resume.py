"""Resuming equals no interruption: bit for bit, and each sample once.

Two processes, and kills at any moment: tests/test_tools/test_benchmark_faults.
"""

import os
import random
import re
import signal
import sys
from pathlib import Path
from typing import Dict, List, Tuple

import pytest
import torch
from mmengine.config import Config
from torch.utils.data import DataLoader

from ovd.datasets.patient_worker import patient_worker
from ovd.engine.launch import build_runner
from ovd.engine.resuming import prepare_training

JOB = Path(__file__).parents[2] / 'tools/benchmarks/resumable_job.py'
sys.path.append(str(JOB.parent))
import resumable_job as job  # noqa: E402

ITERATIONS = dict(
    train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters=40),
    train_dataloader=dict(sampler=dict(type='InfiniteSampler')),
)
WORKERS = dict(train_dataloader=dict(num_workers=2, persistent_workers=True))


def train(
    work_dir: Path, options: dict, stop_at: int = -1, resume: str = 'auto'
) -> None:
    cfg = job.make_config(str(work_dir))
    cfg.merge_from_dict(Config(options)._cfg_dict)
    cfg.custom_hooks[0].stop_at = stop_at
    prepare_training(cfg, resume)
    try:
        build_runner(cfg).train()
    except KeyboardInterrupt:
        assert stop_at >= 0


def last(work_dir: Path) -> dict:
    return torch.load(
        (work_dir / 'last_checkpoint').read_text(), weights_only=True
    )


def history(checkpoint: dict) -> List[float]:
    scalars = checkpoint['message_hub']['log_scalars']
    return scalars['train/loss']['log_history']


def seen(work_dir: Path) -> Dict[Tuple[int, int], List[int]]:
    """Return the samples by rank and iteration, as last gone through."""
    found = {}
    for rank, path in enumerate(sorted(work_dir.glob('seen_*.txt'))):
        for line in path.read_text().splitlines():
            iteration, *samples = map(int, line.split())
            found[rank, iteration] = samples
    return found


def of_epoch(work_dir: Path, epoch: int, length: int) -> List[int]:
    """Return all samples of an epoch of so many iterations, sorted."""
    return sorted(
        sample
        for (_, iteration), samples in seen(work_dir).items()
        for sample in samples
        if iteration // length == epoch
    )


def assert_same(one: Path, other: Path) -> None:
    first, second = last(one), last(other)
    assert first['meta']['iter'] == second['meta']['iter'] == 40
    assert first['state_dict'].keys() == second['state_dict'].keys()
    for key, value in first['state_dict'].items():
        assert torch.equal(value, second['state_dict'][key]), key
    assert history(first) == history(second)
    assert len(history(first)) == 40


@pytest.mark.parametrize(
    'options',
    [
        pytest.param({}, id='epochs'),
        pytest.param(ITERATIONS, id='iterations'),
        pytest.param(WORKERS, id='workers'),
    ],
)
def test_interrupted_anywhere(tmp_path: Path, options: dict) -> None:
    train(tmp_path / 'whole', options)
    for moment in sorted(random.Random(0).sample(range(6, 40), 2)):
        train(tmp_path / 'cut', options, stop_at=moment)
    train(tmp_path / 'cut', options)
    assert_same(tmp_path / 'whole', tmp_path / 'cut')
    assert seen(tmp_path / 'whole') == seen(tmp_path / 'cut')


def test_no_sample_is_missed_or_seen_twice(tmp_path: Path) -> None:
    """From the middle of an epoch; 10 iterations are an epoch of 40 points."""
    train(tmp_path, {}, stop_at=17)  # the last checkpoint is of 15
    train(tmp_path, {})
    for epoch in range(4):
        assert of_epoch(tmp_path, epoch, 10) == list(range(40))


def test_other_batches_go_on_at_the_same_sample(tmp_path: Path) -> None:
    train(tmp_path, {}, stop_at=17)
    bigger = dict(train_dataloader=dict(batch_size=10))
    train(tmp_path, bigger)  # 15 batches of 4: 20 points of epoch 1
    samples = seen(tmp_path)
    of_epoch_1 = [*range(10, 15), 15, 16]
    assert sorted(sum((samples[0, i] for i in of_epoch_1), [])) == list(
        range(40)
    )


def test_samples_are_the_same_with_any_number_of_workers(
    tmp_path: Path,
) -> None:
    train(tmp_path / 'none', {})
    train(tmp_path / 'two', WORKERS)
    assert_same(tmp_path / 'none', tmp_path / 'two')


def test_a_seed_drawn_by_lot_is_taken_up(tmp_path: Path) -> None:
    by_lot = dict(randomness=dict(_delete_=True, seed=None))
    train(tmp_path, by_lot, stop_at=17)
    seed = last(tmp_path)['meta']['seed']
    train(tmp_path, by_lot)
    assert last(tmp_path)['meta']['seed'] == seed
    assert of_epoch(tmp_path, 1, 10) == list(range(40))


def test_other_iterations_draw_other_numbers(tmp_path: Path) -> None:
    train(tmp_path, {})
    losses = history(last(tmp_path))
    assert len(set(losses)) == 40


def test_position_in_the_checkpoint(tmp_path: Path) -> None:
    train(tmp_path, {}, stop_at=17)
    assert last(tmp_path)['meta']['position'] == dict(
        num_batches=5, batch_size=4, world_size=1
    )
    train(tmp_path, {})
    # Of the last epoch, which is not over yet when the hook saves.
    assert last(tmp_path)['meta']['position']['num_batches'] in (0, 10)


def test_twice_with_other_batches(tmp_path: Path) -> None:
    """A loop by iterations: 20 batches of 4, then of 2, then of 4 again."""
    train(tmp_path, ITERATIONS, stop_at=22)
    half = dict(
        ITERATIONS,
        train_dataloader=dict(
            batch_size=2, sampler=dict(type='InfiniteSampler')
        ),
    )
    train(tmp_path, half, stop_at=32)
    assert last(tmp_path)['meta']['position']['num_batches'] == 50
    train(tmp_path, ITERATIONS)
    samples = seen(tmp_path)
    done = sum((samples[0, i] for i in range(40)), [])
    for epoch in range(3):  # 20 * 4 + 10 * 2 + 10 * 4 samples
        part = done[40 * epoch : 40 * epoch + 40]
        assert sorted(part) == list(range(40))


def test_resume_in_a_config_means_the_same(tmp_path: Path) -> None:
    train(tmp_path, {}, stop_at=17)
    train(tmp_path, dict(resume=True, load_from=None), resume=None)
    for epoch in range(4):
        assert of_epoch(tmp_path, epoch, 10) == list(range(40))


def test_a_lost_pointer(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    train(tmp_path, {}, stop_at=17)
    (tmp_path / 'last_checkpoint').write_text('')
    train(tmp_path, {}, stop_at=16)
    assert [*seen(tmp_path)][-1] == (0, 16)  # it went on at 15
    assert 'going on from the newest checkpoint' in capsys.readouterr().out


def test_a_config_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    """As one of mmdet 2.x has it; the host would."""
    train(tmp_path, {}, stop_at=17)
    content = last(tmp_path)
    content['meta']['config'] = (
        f'open({str(tmp_path / "trace")!r}, "w").close()'
    )
    torch.save(content, tmp_path / 'iter_15.pth')
    train(tmp_path, {})
    assert not (tmp_path / 'trace').exists()
    assert last(tmp_path)['meta']['iter'] == 40


def test_workers_outlive_a_signal_to_all(tmp_path: Path) -> None:
    """As Ctrl-C and schedulers send it; the batch that is due still comes."""
    loader = DataLoader(
        Slow(), batch_size=1, num_workers=1, worker_init_fn=patient_worker
    )
    batches = iter(loader)
    next(batches)
    (worker,) = batches._workers
    for signum in (signal.SIGTERM, signal.SIGINT):
        os.kill(worker.pid, signum)
    assert [int(batch) for batch in batches] == [1, 2, 3]


class Slow(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        return index


def test_batches_are_numbered_on(tmp_path: Path) -> None:
    """From the middle of an epoch; so log lines come where they would."""
    options = dict(
        log_processor=dict(by_epoch=True),
        log_level='INFO',
        default_hooks=dict(logger=dict(interval=4)),
    )
    train(tmp_path / 'whole', options)
    train(tmp_path / 'cut', options, stop_at=17)  # it goes on at 15
    train(tmp_path / 'cut', options)
    lines = [
        re.findall(
            r'Epoch\(train\) +(\[\d\]\[ *\d+/10\])',
            ''.join(
                path.read_text()
                for path in sorted((tmp_path / name).rglob('*.log'))
            ),
        )
        for name in ('whole', 'cut')
    ]
    assert len(lines[0]) == 8
    assert lines[0][:4] == [
        '[1][ 4/10]',
        '[1][ 8/10]',
        '[2][ 4/10]',
        '[2][ 8/10]',
    ]
    assert lines[1] == lines[0]
