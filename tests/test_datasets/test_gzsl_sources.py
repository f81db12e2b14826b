"""Dataset configs give the annotation files that are split."""

from pathlib import Path

import pytest

from ovd.datasets.gzsl_sources import annotation_files

CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'
PLAIN = "dict(dataset=dict(data_root='d/', ann_file='{}.json'))"


@pytest.mark.parametrize(
    'name, files',
    [
        (
            'miniature_instance',
            [
                ('train', 'data/miniature/annotations/instances_train.json'),
                ('val', 'data/miniature/annotations/instances_val.json'),
            ],
        ),
        (
            'coco_detection',
            [
                ('train', 'data/coco/annotations/instances_train2017.json'),
                ('val', 'data/coco/annotations/instances_val2017.json'),
            ],
        ),
        (
            'lvis_v1_detection',
            [
                ('train', 'data/lvis_v1/annotations/lvis_v1_train.json'),
                ('val', 'data/lvis_v1/annotations/lvis_v1_val.json'),
            ],
        ),
    ],
)
def test_our_configs(name, files):
    """LVIS training data is in a wrapper."""
    assert annotation_files(CONFIGS / f'{name}.py') == files


@pytest.mark.parametrize(
    'dataset, files',
    [
        (
            "dict(type='RepeatDataset', times=2, dataset=dict(dataset=dict("
            "ann_file='a.json', data_root=None)))",
            ['a.json'],
        ),
        (
            "dict(datasets=[dict(ann_file='/a.json', data_root='d'), "
            "dict(ann_file='b.json', data_root='d')])",
            ['/a.json', 'd/b.json'],
        ),
    ],
)
def test_wrappers(tmp_path, dataset, files):
    """Wrappers are opened, absolute paths kept."""
    config = tmp_path / 'x.py'
    config.write_text(
        f'train_dataloader = dict(dataset={dataset})\n'
        'val_dataloader = ' + PLAIN.format('v')
    )
    assert annotation_files(config) == [
        *(('train', f) for f in files),
        ('val', 'd/v.json'),
    ]


@pytest.mark.parametrize(
    'text, message',
    [
        (
            'train_dataloader = ' + PLAIN.format('t'),
            'no val_dataloader.dataset',
        ),
        (
            'val_dataloader = ' + PLAIN.format('t'),
            'no train_dataloader.dataset',
        ),
        (
            f'train_dataloader = {PLAIN.format("t")}\n'
            f'val_dataloader = {PLAIN.format("t")}',
            'same annotation file: d/t',
        ),
    ],
)
def test_not_a_dataset_config(tmp_path, text, message):
    """A config without both files is refused."""
    config = tmp_path / 'x.py'
    config.write_text(text)
    with pytest.raises(ValueError, match=message):
        annotation_files(config)


@pytest.mark.parametrize(
    'dataset, message',
    [
        (dict(type='GZSLCocoDatase'), 'did you mean "GZSLCocoDataset"'),
        (dict(type='GZSLCocoDataset', ann_fil='b.json'), 'takes no "ann_fil"'),
    ],
)
def test_types_are_checked(tmp_path, dataset, message):
    """What training would refuse is refused before minutes of splitting."""
    config = tmp_path / 'data.py'
    config.write_text(
        f'train_dataloader = dict(dataset={dict(dataset, ann_file="a.json")})'
        '\nval_dataloader = dict(dataset=dict(ann_file="c.json"))'
    )
    with pytest.raises(ValueError, match=message):
        annotation_files(config)


def test_no_config(tmp_path):
    """A config that does not exist is an error with a near name."""
    (tmp_path / 'coco.py').touch()
    with pytest.raises(FileNotFoundError, match='did you mean "coco.py"'):
        annotation_files(tmp_path / 'cocoo.py')
