"""Two processes on the CPU, or two nodes of one, do what one process does."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / 'tests/data/configs/vild_equal_gradients.py')
DETECTOR = str(
    ROOT / 'configs/miniature/vild-ensemble_mask-rcnn_r18_fpn_miniature.py'
)


def start(road: Path, *command: str, **variables: str) -> subprocess.Popen:
    environment = dict(
        os.environ,
        PYTHON=sys.executable,
        CUDA_VISIBLE_DEVICES='',
        PYTHONPATH=f'{ROOT}:{ROOT / "tests/data"}',
        OMP_NUM_THREADS='1',
        **variables,
    )
    return subprocess.Popen(
        command,
        cwd=road,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*jobs: subprocess.Popen) -> None:
    outputs = [job.communicate()[0] for job in jobs]
    assert not any(job.returncode for job in jobs), '\n'.join(
        output[-5000:] for output in outputs
    )


def run(road: Path, *command: str) -> None:
    finish(start(road, *command))


def run_on_two_nodes(road: Path, script: str, *arguments: str) -> None:
    """Run a script of tools/ with one process on each of two "nodes"."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    finish(
        *(
            start(
                road,
                'sh',
                str(ROOT / 'tools' / script),
                *arguments,
                NNODES='2',
                NODE_RANK=rank,
                MASTER_ADDR='127.0.0.1',
                PORT=port,
            )
            for rank in '01'
        )
    )


def weights(work_dir: Path, iteration: int) -> dict:
    return torch.load(work_dir / f'iter_{iteration}.pth', weights_only=True)[
        'state_dict'
    ]


def test_two_processes_sum_the_gradients_of_the_doubled_batch(
    road: Path, tmp_path: Path
) -> None:
    one, two = tmp_path / 'one', tmp_path / 'two'
    run(
        road,
        sys.executable,
        str(ROOT / 'tools/train.py'),
        CONFIG,
        '--work-dir',
        str(one),
        '--cfg-options',
        'train_dataloader.batch_size=8',
    )
    run(
        road,
        'sh',
        str(ROOT / 'tools/dist_train.sh'),
        CONFIG,
        '2',
        '--work-dir',
        str(two),
        '--cfg-options',
        'train_dataloader.batch_size=4',
    )
    start, end = weights(one, 1), weights(one, 3)
    moved = set()
    for name, weight in end.items():
        # Plain SGD: how far a weight went is the sum of its gradients.
        torch.testing.assert_close(
            weights(two, 3)[name], weight, rtol=1e-4, atol=1e-5, msg=name
        )
        if (weight - start[name]).abs().max() > 1e-5:
            moved.add(name)
    assert {
        'backbone.conv1.weight',
        'rpn_head.rpn_cls.weight',
        'roi_head.bbox_head.shared_fcs.0.weight',
        'roi_head.bbox_head.classifier.bg_embedding',
        'roi_head.bbox_head.fc_reg.weight',
        'roi_head.bbox_head.image_branch.shared_fcs.0.weight',
        'roi_head.bbox_head.image_branch.fc_cls.weight',
    } <= moved


def test_the_same_seed_gives_the_same_weights_on_two_nodes(
    road: Path, tmp_path: Path
) -> None:
    options = (
        '--seed',
        '3',
        '--cfg-options',
        'train_cfg.max_iters=3',
        'train_dataloader.batch_size=2',
    )
    run(
        road,
        'sh',
        str(ROOT / 'tools/dist_train.sh'),
        DETECTOR,
        '2',
        '--work-dir',
        str(tmp_path / 'one'),
        *options,
    )
    run_on_two_nodes(
        road,
        'dist_train.sh',
        DETECTOR,
        '1',
        '--work-dir',
        str(tmp_path / 'two'),
        *options,
    )
    one, two = (weights(tmp_path / name, 3) for name in ('one', 'two'))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_two_nodes_extract_the_same_bytes(road: Path, tmp_path: Path) -> None:
    once = road / 'data/miniature/proposal_embeddings/miniature'
    store = tmp_path / 'store'
    shutil.copytree(once, store)
    for shard in sorted(store.glob('shard-*'))[-2:]:
        shard.unlink()
    run_on_two_nodes(
        road,
        'dist_train.sh',
        str(ROOT / 'configs/miniature/proposal_feature_extractor.py'),
        '1',
        '--work-dir',
        str(tmp_path / 'work'),
        '--cfg-options',
        f'train_cfg.store={store}',
    )
    for path in once.iterdir():
        assert (store / path.name).read_bytes() == path.read_bytes()


def test_two_nodes_measure_the_same_ap(road: Path, tmp_path: Path) -> None:
    metrics = tmp_path / 'metrics.json'
    run_on_two_nodes(
        road,
        'dist_test.sh',
        DETECTOR,
        'work_dirs/miniature/vild-ensemble',
        '1',
        '--work-dir',
        str(tmp_path),
        '--metrics',
        str(metrics),
    )
    found = json.loads(metrics.read_text())
    expected = json.loads(
        (road / 'work_dirs/miniature/metrics/ViLD-ensemble.json').read_text()
    )
    assert found == pytest.approx(expected, abs=0.05)
