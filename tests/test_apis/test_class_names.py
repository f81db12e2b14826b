"""Tests of where class names come from."""
import json

import pytest

from ovd.apis.class_names import (
    ann_file_class_names,
    dataset_class_names,
    read_class_names,
    split_class_names,
)


def _write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else
                    json.dumps(content))
    return path


@pytest.mark.parametrize('text, expected', [
    ('red fox, snow leopard', ['red fox', 'snow leopard']),
    (' cat ,,dog,', ['cat', 'dog']),
    ('', []),
])
def test_split_class_names(text, expected):
    assert split_class_names(text) == expected


def test_read_class_names(tmp_path):
    path = _write(tmp_path / 'names.txt', 'red fox\r\n\n  snow leopard \n')
    assert read_class_names(path) == ['red fox', 'snow leopard']


def test_names_keep_the_order_of_the_file(tmp_path, monkeypatch):
    categories = [dict(id=3, name='dog'), dict(id=1, name='cat')]
    path = _write(tmp_path / 'data/coco/annotations/instances_val2017.json',
                  dict(categories=categories))
    assert ann_file_class_names(path) == ['dog', 'cat']
    monkeypatch.chdir(tmp_path)
    assert dataset_class_names('coco') == ['dog', 'cat']


@pytest.mark.parametrize('content', [
    'no json', '[]', '{}', '{"categories": [{"id": 1}]}',
    '{"categories": [{"name": "cat"}, {"name": "cat"}]}',
])
def test_wrong_annotation_file(tmp_path, content):
    path = _write(tmp_path / 'ann.json', content)
    with pytest.raises(ValueError, match='ann.json is no COCO or LVIS'):
        ann_file_class_names(path)


def test_mmdet_stands_in_for_missing_annotations(tmp_path, monkeypatch):
    pytest.importorskip('mmdet')
    monkeypatch.chdir(tmp_path)
    coco = dataset_class_names('coco')
    assert (len(coco), coco[0], coco[-1]) == (80, 'person', 'toothbrush')
    lvis = dataset_class_names('lvis_v1')
    assert len(lvis) == len(set(lvis)) == 1203
    assert 'speaker_(stero_equipment)' in lvis  # as the annotations have it


@pytest.mark.parametrize('name, error, message', [
    ('lvis', ValueError, 'did you mean "lvis_v1"'),
    ('miniature', FileNotFoundError, 'annotation file data/miniature'),
])
def test_unknown_names(tmp_path, monkeypatch, name, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        dataset_class_names(name)
