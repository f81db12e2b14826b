"""Evaluate a predictions file again, without a model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = """
custom_imports = dict(imports=['ovd'])
test_dataloader = dict(dataset=dict(
    type='GZSLCocoDataset', ann_file='val.json', test_mode=True, pipeline=[]))
test_evaluator = dict(type='{metric}', ann_file='val.json')
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / 'config.py').write_text(CONFIG.format(metric='GZSLCocoMetric'))
    (tmp_path / 'val.json').write_text(
        json.dumps(
            dict(
                gzsl=dict(
                    base=['cat'],
                    novel=['dog'],
                    groups={},
                    subset='val',
                    split='x',
                ),
                images=[dict(id=1, width=50, height=50, file_name='1.jpg')],
                annotations=[
                    dict(id=i, image_id=1, category_id=i, bbox=[0, 0, 9, 9])
                    for i in (1, 2)
                ],
                categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
            )
        )
    )
    (tmp_path / 'found.json').write_text(
        json.dumps(
            [dict(image_id=1, category_id=2, bbox=[0, 0, 9, 9], score=0.5)]
        )
    )
    return tmp_path


def test_eval(folder):
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / 'tools/eval.py'),
            'config.py',
            'found.json',
            '--metrics',
            'metrics.json',
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert '| bbox AP50 | 50.0 | 0.0  | 100.0 |' in done.stdout + done.stderr
    metrics = json.loads((folder / 'metrics.json').read_text())
    assert metrics['bbox_AP50_novel'] == pytest.approx(100)
    assert (folder / 'work_dirs/config/report/bbox_classes.csv').is_file()


@pytest.mark.parametrize(
    'options, message',
    [
        (['lost.json'], 'predictions file lost.json does not exist'),
        (
            ['found.json', '--cfg-options', 'test_evaluator=None'],
            'config.py has no test_evaluator',
        ),
        (['val.json'], 'is not a list of COCO predictions'),
        (
            ['found.json', '--cfg-options', 'test_evaluator.metrc=segm'],
            'did you mean "test_evaluator',
        ),
        (
            ['found.json', '--cfg-options', '+test_evaluator.metric=segm'],
            'objects without a `segmentation`|needs the `segmentation`',
        ),
        (
            ['found.json', '--cfg-options', 'test_evaluator.type=CocoMetric'],
            'not by CocoMetric',
        ),
    ],
)
def test_errors(folder, options, message, run_tool):
    done = run_tool('eval.py', 'config.py', *options, cwd=folder)
    assert done.returncode == 2
    assert done.stderr.count('Traceback') == 0, done.stderr
    assert any(part in done.stderr for part in message.split('|'))


def test_no_option_is_ignored(folder, run_tool):
    """There is one process here, and nothing random."""
    for options in (['--launcher', 'pytorch'], ['--seed', '1']):
        done = run_tool(
            'eval.py', 'config.py', 'found.json', *options, cwd=folder
        )
        assert done.returncode == 2
        assert f'unrecognized arguments: {" ".join(options)}' in done.stderr
