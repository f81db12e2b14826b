"""However many processes extract, and whenever they are killed: one store."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from ovd.artifacts.embedding_store import EmbeddingStore
from ovd.artifacts.proposals import save_proposals

ROOT = Path(__file__).parents[2]
DRIVER = ROOT / 'tests/data/kill_extraction.py'
NUM_IMAGES, BOXES = 24, 6
SRUN = """#!/bin/sh
# Starts the tasks of a step on this machine, with Slurm's variables.
while :; do
    case $1 in
        --ntasks=*) tasks=${1#*=} ;;
        -p) shift ;;
        -*) ;;
        *) break ;;
    esac
    shift
done
export SLURM_JOB_ID=$$ SLURM_STEP_ID=0 SLURM_NODELIST=localhost
export SLURM_NTASKS="$tasks"
task=0 pids=
while [ $task -lt "$tasks" ]; do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
    task=$((task + 1)) pids="$pids $!"
done
code=0
for pid in $pids; do wait "$pid" || code=$?; done
exit $code
"""


@pytest.fixture()
def config(tmp_path, tiny_vit_path):
    """Path of a config that extracts from random images."""
    rng = np.random.default_rng(0)
    (tmp_path / 'train').mkdir()
    proposals = {}
    for i in range(NUM_IMAGES):
        cv2.imwrite(
            str(tmp_path / f'train/{i}.png'),
            rng.integers(0, 256, (60, 80, 3), np.uint8),
        )
        corners = rng.uniform(0, 1, (BOXES, 2, 2)) * (80, 60)
        corners.sort(axis=1)
        proposals[f'train/{i}.png'] = dict(
            bboxes=corners.reshape(BOXES, 4).astype(np.float32),
            scores=rng.uniform(size=BOXES).astype(np.float32),
        )
    save_proposals(tmp_path / 'p.pkl', proposals, {})
    (tmp_path / 'train.json').write_text(
        json.dumps(
            dict(
                images=[
                    dict(id=i, file_name=f'{i}.png', width=80, height=60)
                    for i in range(NUM_IMAGES)
                ],
                annotations=[],
                categories=[dict(id=0, name='red circle')],
            )
        )
    )
    cfg = Config(
        dict(
            runner_type='ExtractionRunner',
            default_scope='mmdet',
            custom_imports=dict(imports=['ovd']),
            launcher='none',
            log_level='WARNING',
            work_dir=str(tmp_path / 'work'),
            model=dict(
                type='ProposalFeatureExtractor',
                clip=tiny_vit_path,
                batch_size=16,
            ),
            train_dataloader=dict(
                num_workers=1,
                dataset=dict(
                    type='CocoDataset',
                    ann_file=str(tmp_path / 'train.json'),
                    metainfo=dict(classes=('red circle',)),
                    data_prefix=dict(img=str(tmp_path / 'train')),
                    test_mode=True,
                    pipeline=[dict(type='LoadImageFromFile')],
                ),
            ),
            train_cfg=dict(
                type='ExtractionLoop',
                proposals=str(tmp_path / 'p.pkl'),
                store=str(tmp_path / 'store'),
                images_per_shard=1,
            ),
        )
    )
    cfg.dump(str(tmp_path / 'config.py'))
    return str(tmp_path / 'config.py')


def test_twenty_kills(config, tmp_path):
    done = subprocess.run(
        [sys.executable, str(DRIVER), config, '20', '7'],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    killed, *shards = map(int, done.stdout.split())
    # Else it would not have been tried
    assert killed >= 5 and len(set(shards)) >= 3, done.stdout
    store = EmbeddingStore(tmp_path / 'store')
    assert all(len(store.get(i)['scores']) == BOXES for i in range(NUM_IMAGES))


def test_a_signal_to_all_processes_ends_them_after_their_shards(
    config, tmp_path
):
    """Workers leave it to who waits for what they do."""
    job = subprocess.Popen(
        ['sh', str(ROOT / 'tools/dist_train.sh'), config, '2'],
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while not list((tmp_path / 'store').glob('shard-*.safetensors')):
        assert job.poll() is None
        time.sleep(0.01)
    for pid in _group(job.pid):
        os.kill(pid, signal.SIGTERM)
    said = job.communicate(timeout=120)[0]
    assert job.returncode == 0, said
    assert 'are missing\ngo on with:' in said and 'Traceback' not in said
    _run(sys.executable, str(ROOT / 'tools/train.py'), config)
    assert len(EmbeddingStore(tmp_path / 'store')) == NUM_IMAGES


def _group(pid):
    """Return a process and all that come from it, the youngest first."""
    children = [
        int(child)
        for task in Path(f'/proc/{pid}/task').iterdir()
        for child in (task / 'children').read_text().split()
    ]
    return [p for child in children for p in _group(child)] + [pid]


def _environment(**variables):
    return dict(
        os.environ,
        PYTHON=sys.executable,
        CUDA_VISIBLE_DEVICES='',
        OMP_NUM_THREADS='1',
        **variables,
    )


def _run(*command, **variables):
    done = subprocess.run(
        command, env=_environment(**variables), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-5000:]


def _files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_one_and_two_processes_make_the_same_bytes(config, tmp_path):
    store, once = tmp_path / 'store', tmp_path / 'once'
    _run(sys.executable, str(ROOT / 'tools/train.py'), config)
    store.rename(once)
    _run('sh', str(ROOT / 'tools/dist_train.sh'), config, '2')
    assert len(_files(store)) == NUM_IMAGES + 1
    assert _files(store) == _files(once)
    # What one process began, two tasks of Slurm go on with.
    shutil.rmtree(store)
    shutil.copytree(once, store)
    for i in range(5, 20):
        (store / f'shard-{i:05d}.safetensors').unlink()
    (tmp_path / 'srun').write_text(SRUN)
    (tmp_path / 'srun').chmod(0o755)
    _run(
        'sh',
        str(ROOT / 'tools/slurm_train.sh'),
        'cpu',
        'job',
        config,
        str(tmp_path / 'work'),
        GPUS='2',
        SRUN_ARGS='--gres=none',
        PATH=f'{tmp_path}:{os.environ["PATH"]}',
    )
    assert _files(store) == _files(once)
