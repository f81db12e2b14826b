"""Objects365: the names of the file itself, whatever the version."""

import json
from pathlib import Path

import pytest
from mmdet.registry import DATASETS

# The categories of v1 come in another order in each of its files.
CATEGORIES = [dict(id=2, name='Sneakers '), dict(id=1, name='Person')]


@pytest.mark.parametrize(
    'version, classes, label, path',
    [
        ('V1', ('Person', 'Sneakers '), 1, 'data/images/v1/patch3/a.jpg'),
        ('V2', ('Sneakers ', 'Person'), 0, 'data/patch3/a.jpg'),
    ],
)
def test_names_and_labels(
    tmp_path: Path, version: str, classes: tuple, label: int, path: str
) -> None:
    ann_file = tmp_path / 'objects365.json'
    ann_file.write_text(
        json.dumps(
            dict(
                categories=CATEGORIES,
                images=[
                    dict(
                        id=1,
                        height=20,
                        width=20,
                        file_name='images/v1/patch3/a.jpg',
                    )
                ],
                annotations=[
                    dict(
                        id=1,
                        image_id=1,
                        category_id=2,
                        iscrowd=0,
                        area=16,
                        bbox=[1, 1, 4, 4],
                    )
                ],
            )
        )
    )
    cfg = dict(
        type=f'GZSLObjects365{version}Dataset',
        ann_file=str(ann_file),
        data_prefix=dict(img='data/'),
    )
    dataset = DATASETS.build(
        dict(cfg, test_mode=True, metainfo=dict(base_classes=()))
    )
    assert dataset.metainfo['classes'] == classes
    assert dataset.metainfo['novel_classes'] == classes
    info = dataset.get_data_info(0)
    assert info['instances'][0]['bbox_label'] == label
    assert info['img_path'] == path
    with pytest.raises(ValueError, match='training must not see'):
        DATASETS.build(cfg)
