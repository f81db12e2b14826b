"""Tests of where class names come from."""

import json
from pathlib import Path

import pytest

from ovd.apis.class_names import (
    DATASETS,
    ClassNames,
    ann_file_class_names,
    dataset_class_names,
    read_class_names,
    split_class_names,
)

LVIS = Path(__file__).parents[2] / '../shared/data/lvis_v1_categories.json'


def _write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        content if isinstance(content, str) else json.dumps(content)
    )
    return path


@pytest.mark.parametrize(
    'text, expected',
    [
        ('red fox, snow leopard', ['red fox', 'snow leopard']),
        (' cat ,,dog,', ['cat', 'dog']),
        ('', []),
    ],
)
def test_split_class_names(text, expected):
    assert split_class_names(text) == expected


def test_read_class_names(tmp_path):
    path = _write(tmp_path / 'names.txt', 'red fox\r\n\n  snow leopard \n')
    assert read_class_names(path) == ['red fox', 'snow leopard']


def test_text_files_of_windows(tmp_path):
    path = tmp_path / 'names.txt'
    path.write_bytes(b'\xef\xbb\xbfcat\r\ndog\r\n')
    assert read_class_names(path) == ['cat', 'dog']
    path.write_bytes('caf\xe9'.encode('latin-1'))
    with pytest.raises(ValueError, match='names.txt is no text in UTF-8'):
        read_class_names(path)


def test_names_keep_the_order_of_the_file(tmp_path, monkeypatch):
    categories = [dict(id=3, name='dog'), dict(id=1, name='cat')]
    path = _write(
        tmp_path / 'data/coco/annotations/instances_val2017.json',
        dict(images=[], categories=categories),
    )
    assert ann_file_class_names(path) == ['dog', 'cat']
    monkeypatch.chdir(tmp_path)
    assert dataset_class_names('coco') == ['dog', 'cat']
    bare = _write(tmp_path / 'bare.json', categories)
    assert ann_file_class_names(bare) == ['dog', 'cat']


@pytest.mark.parametrize(
    'content',
    [
        'no json',
        '7',
        '{}',
        '{"categories": [{"id": 1}]}',
        '{"categories": [{"name": "cat"}, {"name": "cat"}]}',
        '{"categories": [{"name": "cat"}',
    ],
)
def test_wrong_annotation_file(tmp_path, content):
    path = _write(tmp_path / 'ann.json', content)
    with pytest.raises(ValueError, match='ann.json is no COCO or LVIS'):
        ann_file_class_names(path)


@pytest.mark.parametrize(
    'dataset, number, first',
    [
        ('coco', 80, 'person'),
        ('lvis_v1', 1203, 'aerosol_can'),
        ('voc', 20, 'aeroplane'),
        ('objects365', 365, 'Person'),
        ('objects365_v1', 365, 'person'),
    ],
)
def test_mmdet_stands_in_for_missing_annotations(
    tmp_path, monkeypatch, dataset, number, first
):
    monkeypatch.chdir(tmp_path)
    names = dataset_class_names(dataset)
    assert len(names) == len(set(names)) == number and names[0] == first


def test_known_mistakes_in_mmdets_lists_are_mended(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert 'speaker_(stero_equipment)' in dataset_class_names('lvis_v1')
    names = dataset_class_names('objects365')
    assert {'Monitor/TV', 'Camel', 'Formula 1', 'Table Tennis'} <= set(names)
    assert not {'Moniter/TV', 'Campel', 'Formula 1 '} & set(names)


@pytest.mark.parametrize(
    'name, error, message',
    [
        ('lvis', ValueError, 'did you mean "lvis_v1"'),
        ('miniature', FileNotFoundError, 'annotation file data/miniature'),
    ],
)
def test_unknown_names(tmp_path, monkeypatch, name, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        dataset_class_names(name)


def test_sources_of_names(tmp_path):
    ann_file = _write(tmp_path / 'ann.json', [dict(name='ox')])
    names = ClassNames()
    assert (names.given, names.are_of_dataset) == (False, True)
    assert names.names == dataset_class_names('coco')
    names = ClassNames('voc')
    assert (names.given, names.are_of_dataset) == (True, True)
    assert names.folder == Path('data/voc/prompt')
    names = ClassNames('miniature', classes='ox, fox')
    assert (names.names, names.are_of_dataset) == (['ox', 'fox'], False)
    assert names.pretrained == DATASETS['miniature'].pretrained
    assert ClassNames(ann_file=ann_file).names == ['ox']
    assert not ClassNames(ann_file=ann_file).are_of_dataset
    assert not ClassNames('coco', ann_file=ann_file).are_of_dataset
    same = _write(
        tmp_path / 'coco.json',
        [dict(name=name) for name in dataset_class_names('coco')],
    )
    assert ClassNames('coco', ann_file=same).are_of_dataset
    with pytest.raises(FileNotFoundError, match='data/miniature'):
        _ = ClassNames('miniature', ann_file=same).are_of_dataset


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(dataset='coca'), 'did you mean "coco"'),
        (
            dict(classes='ox', ann_file='a.json'),
            '--classes and --ann-file each',
        ),
        (dict(classes=' , '), '--classes " , " has no class names'),
        (dict(classes=''), '--classes "" has no class names'),
        (
            dict(classes='a, b, a'),
            r'--classes "a, b, a": names must differ.*.a.',
        ),
        (
            dict(classes='Camel, Campel'),
            '"Camel" and "Campel" are two spelling',
        ),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        _ = ClassNames(**arguments).names


def test_synonyms(tmp_path):
    path = _write(
        tmp_path / 'ann.json',
        dict(
            categories=[
                dict(name='bull', synonyms=['horned_cow']),
                dict(name='ox'),
            ]
        ),
    )
    assert ClassNames(ann_file=path).read_synonyms() == [['horned_cow'], []]
    plain = _write(tmp_path / 'plain.json', [dict(name='ox')])
    empty = _write(tmp_path / 'empty.json', [dict(name='ox', synonyms=[' '])])
    with pytest.raises(ValueError, match='empty.json: "ox" has an empty syn'):
        ClassNames(ann_file=empty).read_synonyms()
    with pytest.raises(ValueError, match='plain.json have no synonyms'):
        ClassNames(ann_file=plain).read_synonyms()
    for names in (ClassNames(classes='ox'), ClassNames('voc')):
        with pytest.raises(ValueError, match='name one with --ann-file'):
            names.read_synonyms()


@pytest.mark.skipif(not LVIS.is_file(), reason=f'{LVIS} is not there')
def test_the_real_categories_of_lvis():
    names = ClassNames(ann_file=LVIS)
    assert names.names == dataset_class_names('lvis_v1')
    synonyms = names.read_synonyms()
    assert sum(map(len, synonyms)) == 1825
    assert sum(len(own) > 1 for own in synonyms) == 404
    assert synonyms[names.names.index('bull')] == ['horned_cow']
