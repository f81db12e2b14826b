"""docs/at_scale.md: its launchers start what they say; its sizes add up."""

import re
import sys
from pathlib import Path
from typing import Callable, List

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
from docs_commands import (  # noqa: E402
    ROOT,
    Tried,
    blocks,
    commands,
    page,
    run_shell,
    section,
    table,
    try_command,
)

from ovd.apis.data_tree import COCO, LVIS_V1  # noqa: E402
from ovd.artifacts.embedding_store import EmbeddingStoreWriter  # noqa: E402
from ovd.artifacts.store_plan import StorePlan  # noqa: E402
from ovd.engine.extraction_report import BYTES_PER_BOX, Estimate  # noqa: E402
from ovd.engine.hooks.hang_watch_hook import HangWatchHook  # noqa: E402

PAGE = page('at_scale')
SPLIT = 'data/coco/annotations/instances_train2017_48_17_1.json does not exist'


pytestmark = pytest.mark.usefixtures('no_network')


def try_all(text: str, folder: Path, run_tool: Callable) -> List[Tried]:
    """Try the commands of a text, each up to the first missing file."""
    found = [
        try_command(command, folder, run_tool) for command in commands(text)
    ]
    for done in found:
        assert done.code in (1, 2) and 'error: ' in done.output, done.words
        assert '\nusage: ' not in done.output
    return found


def test_the_dry_run(tmp_path: Path, run_tool: Callable) -> None:
    (done,) = try_all(PAGE.partition('\n## ')[0], tmp_path, run_tool)
    assert done.words[-1] == '--dry-run' and SPLIT in done.output


def test_machines(tmp_path: Path, run_tool: Callable) -> None:
    train, test, first, second = try_all(
        section(PAGE, '## One machine, several machines'), tmp_path, run_tool
    )
    assert SPLIT in train.output
    assert 'rpn_r101_fpn_1x_coco_48_17 holds no checkpoint' in test.output
    for rank, done in enumerate((first, second)):
        assert SPLIT in done.output
        line = ' '.join(done.processes)
        assert (
            f'--nnodes 2 --node-rank {rank} --master-addr 10.0.0.1 '
            '--master-port 29500' in line
        )


def test_slurm(tmp_path: Path, run_tool: Callable) -> None:
    train, test, array = try_all(section(PAGE, '## Slurm'), tmp_path, run_tool)
    assert {
        '--ntasks=16',
        '--ntasks-per-node=8',
        '--time=24:00:00',
        '--signal=TERM@300',
        '--resume',
    } <= set(train.processes)
    assert SPLIT in train.output
    assert 'work_dirs/vild holds no checkpoint' in test.output
    assert {'--ntasks=8', '--job-name=extract'} <= set(array.processes)
    assert 'the weights of CLIP ViT-B/32 are neither' in array.output
    assert {done.processes[0] for done in (train, test, array)} == {'srun'}


def test_the_array_is_a_job_script(tmp_path: Path) -> None:
    (script,) = [block for block in blocks(PAGE, 'sh') if '#SBATCH' in block]
    assert script.startswith('#!/bin/sh\n#SBATCH --array=0-9%1 ')
    (tmp_path / 'job.sh').write_text(script)
    run_shell('sh -n job.sh', tmp_path)


def test_pai() -> None:
    (command,) = commands(section(PAGE, '## PAI'))
    printed = run_shell(command.text, ROOT)
    assert 'pai -name pytorch' in printed
    assert 'configs/rpn/rpn_r101_fpn_1x_coco_48_17.py' in printed
    needed = re.findall(
        r'ODPS_\w+',
        run_shell(
            'sed -n "s/for name in//p" tools/odps.sh; '
            'grep -A1 "for name in" tools/odps.sh | tail -1',
            ROOT,
        ),
    )
    assert len(set(needed)) == 5
    assert set(needed) == {
        name for name in command.variables if name.startswith('ODPS_')
    }


def test_resume(tmp_path: Path, run_tool: Callable) -> None:
    (done,) = try_all(
        section(PAGE, '## Resume and pre-emption'), tmp_path, run_tool
    )
    assert done.words[-1] == '--resume' and SPLIT in done.output
    seconds = f'seconds ({HangWatchHook().timeout:.0f})'
    assert f'`default_hooks.hang_watch.timeout` {seconds}' in PAGE


def test_sizes_are_those_that_an_extraction_estimates() -> None:
    split = {
        entry.path: entry for tree in (COCO, LVIS_V1) for entry in tree.entries
    }
    coco = split['annotations/instances_train2017_48_17_1.json']
    lvis = split['annotations/lvis_v1_train_866_337_1.json']
    known = {
        'COCO 48/17': (coco.images, coco.annotations),
        'LVIS 866/337': (
            split['annotations/lvis_v1_train.json'].images,
            lvis.annotations,
        ),
    }
    rows = table(section(PAGE, '## Storage'), 'data')
    assert len(rows) == 4
    for data, images, boxes, proposals, *sizes in rows:
        images, boxes, proposals = (
            int(text.replace(',', '')) for text in (images, boxes, proposals)
        )
        assert (images, boxes) == known[data]
        work = Estimate(images * proposals + boxes, 0)
        assert sizes == [
            f'{work.num_bytes(512, dtype) / 1e9:.1f} GB'
            for dtype in ('float16', 'int8')
        ]
    assert Estimate(1, 0).num_bytes(512, 'float16') == 2 * 512 + BYTES_PER_BOX
    assert Estimate(1, 0).num_bytes(512, 'int8') == 512 + 25
    assert BYTES_PER_BOX == 21
    assert f'{20 * 1000 * coco.images / 1e9:.1f} GB for 1,000' in PAGE


def write_bucket(bucket: Path) -> None:
    """Write what a bucket may have, a store of one box among it."""
    for name in ('train2017', 'val2017', 'annotations'):
        (bucket / 'coco' / name).mkdir(parents=True)
    plan = StorePlan(
        clip=dict(name='ViT-B/32', sha256='c' * 64),
        proposals=None,
        annotations=dict(file='train.json', sha256='a'),
        settings={},
        images_per_shard=1,
        image_ids=[1],
        image_keys=['train2017/1.jpg'],
    )
    EmbeddingStoreWriter(
        bucket / 'coco/proposal_embeddings/ViT-B-32', plan
    ).write_shard(
        0,
        [
            dict(
                embeddings=np.eye(1, 512),
                bboxes=np.ones((1, 4)),
                scores=np.ones(1),
            )
        ],
    )


def test_the_bucket(tmp_path: Path, run_tool: Callable) -> None:
    write_bucket(tmp_path / 'bucket')
    found = commands(section(PAGE, '## Object storage'))
    assert len(found) == 6
    for command in found:
        if command.words[0] == 'python':
            done = try_command(command, tmp_path, run_tool)
            assert done.code == 0, done.output
        else:
            run_shell(
                command.text.replace('/mnt/bucket', str(tmp_path / 'bucket')),
                tmp_path,
            )
    assert (tmp_path / 'data/coco/train2017').is_dir()
    assert (tmp_path / 'data/coco/annotations').is_dir()
