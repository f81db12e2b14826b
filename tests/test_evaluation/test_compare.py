"""Several metrics files become one table, one JSON and one picture."""

import json
from pathlib import Path

import cv2
import pytest

from ovd.evaluation.compare import collect_results, compare


def write_metrics(path: Path, novel: float) -> Path:
    metrics = {
        f'{iou_type}_AP50_{group}': value
        for iou_type in ('bbox', 'segm')
        for group, value in (
            ('novel', novel),
            ('base', 80.0),
            ('all', 70.0),
            ('harmonic', 65.0),
            ('novel_attribute', 50.0),
        )
    }
    path.write_text(json.dumps(metrics))
    return path


def test_table_json_and_picture(tmp_path: Path, capsys) -> None:
    files = {
        'ViLD-text': write_metrics(tmp_path / 'text.json', 40.0),
        'ViLD-ensemble': write_metrics(tmp_path / 'ensemble.json', 61.25),
    }
    compare(files, tmp_path / 'results.json', ['heads of one ensemble'])
    results = json.loads((tmp_path / 'results.json').read_text())
    assert results['ViLD-ensemble']['segm']['AP50_novel'] == 61.25
    assert set(results['ViLD-text']) == {'bbox', 'segm'}
    printed = capsys.readouterr().out
    assert (tmp_path / 'results.txt').read_text() == printed
    (row,) = [
        line
        for line in printed.splitlines()
        if 'ViLD-ensemble' in line and '80.0' in line
    ]
    assert row.replace(' ', '').startswith('|ViLD-ensemble|61.2|80.0|70.0|')
    assert 'box AP50 novel_attribute' in printed
    assert 'heads of one ensemble' in printed
    assert cv2.imread(str(tmp_path / 'results.png')).std() > 0


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='tools/test.py'):
        collect_results({'a': tmp_path / 'a.json'})
    (tmp_path / 'a.json').write_text('{"coco/bbox_mAP": 1}')
    with pytest.raises(ValueError, match='no bbox_AP50_novel'):
        collect_results({'a': tmp_path / 'a.json'})
