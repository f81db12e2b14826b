"""Proposals of a detector reach a file, in original pixels, and are found."""

import json
import os
import re
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData

from ovd.artifacts.files import sha256_file
from ovd.artifacts.proposals import load_proposals
from ovd.evaluation.metrics.proposal_dump import merge
from ovd.evaluation.prediction_spool import PredictionSpool

ROOT = Path(__file__).parents[3]
META = dict(
    classes=['cat', 'dog'], base_classes=['cat'], novel_classes=['dog']
)


@pytest.fixture(autouse=True)
def log(monkeypatch):
    """What is logged."""
    lines = []

    class Logger:
        info = warning = staticmethod(lines.append)

        def log(self, level, message):
            """For mmengine's own warnings."""

    monkeypatch.setattr(
        'mmengine.logging.MMLogger.get_current_instance', Logger
    )
    return lines


def write_annotations(path, objects=(), ids=(1, 2), **gzsl):
    """Write images 1.png, ... of 100 x 50; objects are (image, cat, box)."""
    path.write_text(
        json.dumps(
            dict(
                images=[
                    dict(id=i, file_name=f'{i}.png', width=100, height=50)
                    for i in ids
                ],
                annotations=[
                    dict(id=i, image_id=image, category_id=category, bbox=box)
                    for i, (image, category, box) in enumerate(objects)
                ],
                categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
                **(dict(gzsl=gzsl) if gzsl else {}),
            )
        )
    )
    return str(path)


@pytest.fixture
def ann_file(tmp_path):
    return write_annotations(
        tmp_path / 'val.json', [(1, 1, [0, 1, 30, 49]), (2, 2, [0, 0, 9, 9])]
    )


def _sample(image_id, boxes, scores, name=None):
    return DetDataSample(
        metainfo=dict(
            img_id=image_id,
            img_path=f'data/train/{name or image_id}.png',
            ori_shape=(50, 100),
        ),
        pred_instances=InstanceData(
            bboxes=torch.tensor(boxes).reshape(-1, 4).float(),
            scores=torch.tensor(scores).float(),
        ),
    )


def _evaluate(samples, size=None, **kwargs):
    evaluator = Evaluator(METRICS.build(dict(type='ProposalDump', **kwargs)))
    evaluator.dataset_meta = META
    for sample in samples:
        evaluator.process([sample])
    return evaluator.evaluate(len(samples) if size is None else size)


@pytest.mark.parametrize('suffix', ['.pkl', '.safetensors'])
def test_clipped_sorted_cut_and_measured(tmp_path, ann_file, suffix):
    samples = [
        _sample(2, [], []),
        _sample(
            1,
            [
                [-3, 1, 30, 60],
                [0, 0, 5, 5],
                [99, 5, 120, 20],
                [101, 0, 120, 9],
            ],
            [0.2, 0.1, 0.9, 0.8],
        ),
    ]
    out = tmp_path / f'p{suffix}'
    metrics = _evaluate(
        samples,
        ann_file=ann_file,
        out_file=str(out),
        num_max_proposals=2,
        max_dets=[1, 2],
    )
    assert metrics['proposals/num_images'] == 2
    assert metrics['proposals/num_proposals'] == 2
    # Of what is in the file, and of all images: that of the dog has no box.
    assert [
        metrics[f'recall/AR_{name}']
        for name in ('base@1', 'base@2', 'novel@2', 'all@2')
    ] == [0, 100, 0, 50]
    found = load_proposals(out)
    assert list(found) == ['train/1.png', 'train/2.png']
    # The box beyond x = 100 has no area once clipped.
    np.testing.assert_array_equal(
        found['train/1.png']['bboxes'], [[99, 5, 100, 20], [0, 1, 30, 50]]
    )
    np.testing.assert_array_equal(
        found['train/1.png']['scores'], np.array([0.9, 0.2], np.float32)
    )
    assert found['train/2.png']['bboxes'].shape == (0, 4)
    assert found.provenance['num_max_proposals'] == 2


def test_padding_of_the_last_batch_is_dropped(tmp_path, ann_file):
    samples = [_sample(i, [[0, 0, 5, 5]], [0.5]) for i in (1, 2, 1)]
    metrics = _evaluate(
        samples, size=2, ann_file=ann_file, out_file=str(tmp_path / 'p.pkl')
    )
    assert metrics['proposals/num_images'] == 2


def test_what_made_them_is_noted(tmp_path, ann_file):
    out = tmp_path / 'p.safetensors'
    _evaluate(
        [_sample(i, [], []) for i in (1, 2)],
        out_file=str(out),
        ann_file=ann_file,
        provenance=dict(checkpoint='rpn.pth'),
    )
    assert load_proposals(out).provenance == dict(
        checkpoint='rpn.pth',
        num_max_proposals=None,
        annotations=dict(
            file=ann_file,
            sha256=sha256_file(ann_file),
            source_sha256=sha256_file(ann_file),
        ),
    )


@pytest.mark.parametrize(
    'out_file, match',
    [
        (None, 'give --out FILE'),
        ('p.npz', '.safetensors or .pkl files, got p.npz'),
    ],
)
def test_without_a_file_to_write_the_first_batch_fails(
    ann_file, out_file, match
):
    with pytest.raises(ValueError, match=match):
        _evaluate([_sample(1, [], [])], ann_file=ann_file, out_file=out_file)


@pytest.mark.parametrize(
    'samples, size, match',
    [
        (
            [_sample(1, [], [])],
            2,
            r'no proposals came for 1 of 2 images of .*val.json, .* 2.png '
            r'\(id 2\)',
        ),
        (
            [_sample(1, [], []), _sample(2, [], [], name=1)],
            2,
            'images 1 and 2 share their folder and file name, train/1.png',
        ),
        (
            [_sample(i, [], []) for i in (1, 2, 3)],
            3,
            r'came for train/3.png \(id 3\), which .*val.json lacks: ann_file',
        ),
        (
            [_sample(1, [[0, 0, np.nan, 1]], [0.5])],
            1,
            'data/train/1.png that is not finite: its training diverged',
        ),
    ],
    ids=['missing', 'one name', 'unknown', 'diverged'],
)
def test_nothing_is_written_unless_all_images_are_there(
    tmp_path, ann_file, samples, size, match
):
    out = tmp_path / 'p.pkl'
    with pytest.raises(ValueError, match=match):
        _evaluate(samples, size, ann_file=ann_file, out_file=str(out))
    assert not out.exists()


def test_a_part_of_the_dataset_may_be_dumped(tmp_path, ann_file, log):
    """``test_dataloader.dataset.indices=1``, for a trial."""
    _evaluate(
        [_sample(1, [], [])],
        1,
        ann_file=ann_file,
        out_file=str(tmp_path / 'p.pkl'),
    )
    assert any('no prediction came for 1 of 2 images' in line for line in log)


@pytest.fixture
def training_files(tmp_path):
    """A training file without the dog, and the one it was split from."""
    whole = write_annotations(
        tmp_path / 'whole.json',
        [(1, 1, [0, 0, 9, 9]), (1, 2, [20, 0, 9, 9]), (2, 2, [0, 0, 9, 9])],
    )
    split = write_annotations(
        tmp_path / 'split.json',
        [(1, 1, [0, 0, 9, 9])],
        ids=[1],
        base=['cat'],
        novel=['dog'],
        subset='train',
        source=dict(sha256=sha256_file(whole)),
    )
    return split, whole


def test_recall_of_a_training_file_is_measured_on_its_source(
    tmp_path, training_files, log
):
    """But for images that it left out."""
    split, whole = training_files
    sample = _sample(1, [[0, 0, 9, 9], [20, 0, 29, 9]], [0.9, 0.8])
    run = dict(ann_file=split, out_file=str(tmp_path / 'p.pkl'))
    metrics = _evaluate([sample], recall_ann_file=whole, **run)
    assert metrics['recall/AR_novel@100'] == 100
    assert not any('no novel objects' in line for line in log)
    assert (
        load_proposals(run['out_file']).provenance['annotations']['file']
        == split
    )

    metrics = _evaluate([sample], recall_ann_file='lost.json', **run)
    assert metrics['recall/AR_base@100'] == 100
    assert np.isnan(metrics['recall/AR_novel@100'])
    assert any(
        'split.json has no novel objects, ' in line
        and 'lost.json, which does not exist' in line
        for line in log
    )

    with pytest.raises(ValueError, match='for other images than ann_file'):
        other = write_annotations(tmp_path / 'other.json', ids=[1, 7])
        _evaluate([sample], recall_ann_file=other, **run)


@pytest.mark.parametrize(
    'trained_on, seen, match',
    [
        (
            'unknown',
            'unknown',
            'does not say .* hidden .* has seen novel boxes',
        ),
        (['cat', 'dog'], ['dog'], 'novel here in its training: dog. '),
        (['cat'], [], None),
    ],
)
def test_leaks_are_noted_and_warned_of(
    tmp_path, ann_file, log, trained_on, seen, match
):
    out = tmp_path / 'p.pkl'
    _evaluate(
        [_sample(i, [], []) for i in (1, 2)],
        ann_file=ann_file,
        out_file=str(out),
        provenance=dict(trained_on=trained_on),
    )
    found = load_proposals(out).provenance
    assert found['trained_on'] == trained_on
    assert found['seen_novel_classes'] == seen
    warnings = [line for line in log if 'configs/rpn' in line]
    assert len(warnings) == (match is not None)
    if match:
        assert re.search(match, warnings[0])


def test_merging_holds_the_boxes_once(tmp_path):
    spool = PredictionSpool(str(tmp_path))
    boxes = np.tile(np.float32([1, 2, 3, 4]), (1000, 1))
    for i in range(200):
        spool.add(i, np.zeros(1000, int), np.ones(1000), boxes, name=f'a/{i}')
    spools = [spool.finish()]
    tracemalloc.start()
    found = merge(spools)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.num_boxes == 200_000
    assert peak < 1.3 * found.num_boxes * 20


WORKER = textwrap.dedent("""
    import os, sys, torch
    import torch.distributed as dist
    import ovd
    from ovd.evaluation.metrics import ProposalDump
    dist.init_process_group('gloo')
    rank, world = dist.get_rank(), dist.get_world_size()
    metric = ProposalDump(sys.argv[1], f'{world}.pkl')
    metric.dataset_meta = dict(classes=['cat', 'dog'])
    ids = [4, 3, 2, 1, 5]
    for image in ids[rank::world] + ids[:1]:  # padded, as samplers do
        random = torch.Generator().manual_seed(image)
        boxes = torch.rand(image - 1, 4, generator=random) * 40
        boxes[:, 2:] += boxes[:, :2] + 5
        metric.process({}, [dict(
            img_id=image, img_path=f'val/{image}.png', ori_shape=(50, 100),
            pred_instances=dict(bboxes=boxes, scores=boxes[:, 0] / 40))])
    found = metric.evaluate(5)['proposals/num_proposals']
    open(f'{world}_{rank}.txt', 'w').write(str(found))
    dist.destroy_process_group()
""")


def test_files_of_one_and_of_two_processes_are_the_same(tmp_path):
    ann_file = write_annotations(
        tmp_path / 'v.json',
        [(1, 1, [0, 0, 9, 9])],
        range(1, 6),
        base=['cat'],
        novel=['dog'],
        source=dict(sha256='0'),
    )
    (tmp_path / 'worker.py').write_text(WORKER)
    for world in (1, 2):
        done = subprocess.run(
            [
                sys.executable,
                '-m',
                'torch.distributed.run',
                '--standalone',
                f'--nproc_per_node={world}',
                'worker.py',
                ann_file,
            ],
            cwd=tmp_path,
            env={
                **os.environ,
                'PYTHONPATH': str(ROOT),
                'CUDA_VISIBLE_DEVICES': '',
                'OMP_NUM_THREADS': '1',
            },
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert [
            path.read_text()
            for path in sorted(tmp_path.glob(f'{world}_*.txt'))
        ] == ['10'] * world
    assert len(load_proposals(tmp_path / '1.pkl')) == 5
    assert (tmp_path / '1.pkl').read_bytes() == (
        tmp_path / '2.pkl'
    ).read_bytes()
