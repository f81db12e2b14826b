"""Several processes: one evaluates, however long it takes."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from ovd.evaluation.metrics import GZSLCocoMetric, GZSLLVISMetric

ROOT = Path(__file__).parents[2]
WORKER = textwrap.dedent("""
    import json, os, sys, time
    from datetime import timedelta
    from pathlib import Path
    import torch
    import torch.distributed as dist
    from ovd.evaluation.metrics import GZSLCocoMetric

    # The imports of one process may take longer than the limit below.
    Path('ready' + os.environ['RANK']).touch()
    while len(list(Path().glob('ready*'))) < 2:
        time.sleep(.05)

    SECONDS = 4
    # Waiting in a collective call of the default group would end here.
    dist.init_process_group('gloo', timeout=timedelta(seconds=SECONDS))
    rank, world = dist.get_rank(), dist.get_world_size()

    class Slow(GZSLCocoMetric):
        def measure(self, truth, read):
            assert rank == 0
            time.sleep(2 * SECONDS)
            if sys.argv[2] == 'fail':
                raise ValueError('as it were')
            return super().measure(truth, read)

    metric = Slow(sys.argv[1], out_file='kept.json')
    metric.dataset_meta = dict(classes=['cat', 'dog'])
    ids = [1, 2, 3]
    for image in ids[rank::world] + ids[:1]:  # padded, as samplers do
        box = torch.tensor([[0., 0., 10., 10. + image]])
        metric.process({}, [dict(img_id=image, pred_instances=dict(
            bboxes=box, scores=torch.tensor([image / 10]),
            labels=torch.tensor([image % 2])))])
    found = metric.evaluate(3)
    print(json.dumps([rank, found['bbox_AP50_all']]), flush=True)
    dist.destroy_process_group()
""")


@pytest.fixture
def ann_file(tmp_path: Path) -> Path:
    content = dict(
        gzsl=dict(
            base=['cat'], novel=['dog'], split='x', removed=dict(images=2)
        ),
        images=[dict(id=i, width=50, height=50) for i in (1, 2, 3, 4)],
        annotations=[
            dict(image_id=i, category_id=1 + i % 2, bbox=[0, 0, 10, 10])
            for i in (1, 2, 3)
        ],
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
    )
    path = tmp_path / 'val.json'
    path.write_text(json.dumps(content))
    return path


def run_two(ann_file: Path, what: str) -> subprocess.CompletedProcess:
    script = ann_file.with_name('worker.py')
    script.write_text(WORKER)
    return subprocess.run(
        [
            sys.executable,
            '-m',
            'torch.distributed.run',
            '--standalone',
            '--nproc_per_node=2',
            str(script),
            str(ann_file),
            what,
        ],
        cwd=ann_file.parent,
        env={
            **os.environ,
            'PYTHONPATH': str(ROOT),
            'CUDA_VISIBLE_DEVICES': '',
            'OMP_NUM_THREADS': '1',
        },
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_others_wait_beyond_the_limit_of_their_group(ann_file):
    done = run_two(ann_file, 'work')
    assert done.returncode == 0, done.stderr[-3000:]
    lines = sorted(
        json.loads(line)
        for line in done.stdout.splitlines()
        if line.startswith('[')
    )
    # IoU 10/11, 10/12, 10/13: all found; both processes know
    assert lines == [[0, 100.0], [1, 100.0]]
    kept = json.loads(ann_file.with_name('kept.json').read_text())
    assert [p['image_id'] for p in kept] == [1, 2, 3]
    assert not list(ann_file.parent.glob('.dist_test/*'))


def test_others_end_when_the_first_one_fails(ann_file):
    """They don't wait for ever for a process that is gone."""
    done = run_two(ann_file, 'fail')
    assert done.returncode != 0
    assert 'ValueError: as it were' in done.stderr


def sample(image: int, box: list, score: float) -> dict:
    return dict(
        img_id=image,
        pred_instances=dict(
            bboxes=torch.tensor([box], dtype=torch.float32),
            scores=torch.tensor([score]),
            labels=torch.tensor([0]),
        ),
    )


def test_only_annotated_images(ann_file, monkeypatch):
    """Published numbers differ in this; the log says which it was."""
    lines = []

    class Logger:
        info = warning = lines.append

    monkeypatch.setattr(
        'mmengine.logging.MMLogger.get_current_instance', lambda: Logger
    )
    batch = [sample(2, [0, 0, 10, 10], 0.5), sample(4, [0, 0, 10, 10], 0.9)]
    found = {}
    for only in (False, True):
        metric = GZSLCocoMetric(ann_file, only_annotated=only)
        metric.dataset_meta = dict(classes=['cat', 'dog'])
        metric.process({}, batch)
        found[only] = metric.evaluate(4)['bbox_AP50_base']
    # The false cat of image 4, which has no object, comes first.
    assert found == {False: pytest.approx(50), True: pytest.approx(100)}
    assert any(
        '4 images: those with base or novel objects (2 more left out),'
        ' 1 of them without an object' in line
        for line in lines
    )
    assert any('3 images: ' in line for line in lines)


def test_lvis_names_and_spelling(tmp_path):
    """APr, APc and APf; mmdet's spelling of one name is understood."""
    names = ['speaker_(stero_equipment)', 'cat']
    image = dict(
        width=50,
        height=50,
        neg_category_ids=[],
        not_exhaustive_category_ids=[],
    )
    path = tmp_path / 'lvis.json'
    path.write_text(
        json.dumps(
            dict(
                images=[dict(image, id=i) for i in (1, 2)],
                annotations=[
                    dict(image_id=1, category_id=1, bbox=[0, 0, 10, 10]),
                    dict(image_id=2, category_id=2, bbox=[0, 0, 10, 10]),
                ],
                categories=[
                    dict(id=i, name=name, frequency='rf'[i - 1])
                    for i, name in enumerate(names, 1)
                ],
            )
        )
    )
    metric = GZSLLVISMetric(path)
    metric.dataset_meta = dict(
        classes=['speaker_(stereo_equipment)', 'cat'],
        base_classes=['cat'],
        novel_classes=['speaker_(stereo_equipment)'],
    )
    metric.process({}, [sample(1, [0, 0, 10, 10], 0.5)])
    found = metric.evaluate(2)
    assert found['bbox_APr'] == found['bbox_AP_novel'] == pytest.approx(100)
    assert found['bbox_APf'] == found['bbox_AP_base'] == 0
    assert found['bbox_APc'] != found['bbox_APc']  # no such class
    assert found['bbox_AP_all'] == pytest.approx(50)
    assert metric.max_dets == 300
