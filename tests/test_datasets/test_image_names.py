"""Names of images by which proposals are found, as the datasets make them."""

import json
from pathlib import Path

import pytest
from mmdet.registry import DATASETS

from ovd.artifacts.proposals import image_key
from ovd.datasets.image_names import (
    ImageName,
    image_keys,
    image_sizes,
    read_images,
)

URL = 'http://images.cocodataset.org/train2017/000000000009.jpg'


@pytest.mark.parametrize(
    'image, folder, key',
    [
        (
            dict(file_name='000000000009.jpg', coco_url=URL),
            None,
            'train2017/000000000009.jpg',
        ),
        (dict(coco_url=URL), None, 'train2017/000000000009.jpg'),
        (
            dict(file_name='COCO_train2014_000000000009.jpg', coco_url=URL),
            'images',
            'images/000000000009.jpg',
        ),
        (dict(file_name='1.png'), 'train', 'train/1.png'),
        (dict(file_name='images/v1/patch0/1.jpg'), None, 'patch0/1.jpg'),
    ],
)
def test_image_keys(image: dict, folder: str, key: str) -> None:
    assert image_keys([ImageName(id=9, **image)], 'a.json', folder) == [key]


@pytest.mark.parametrize(
    'images, folder, match',
    [
        (
            [dict(id=9, file_name='1.png')],
            None,
            r'image 9 of a.json \(1.png\) has neither .* --folder',
        ),
        ([dict(id=9)], None, r'image 9 of a.json \(no name\) has neither'),
        (
            [dict(id=9, file_name='b/1.png')],
            'c',
            'b/1.png: leave out --folder',
        ),
        (
            [
                dict(id=9, file_name='a/b/1.png'),
                dict(id=8, file_name='c/b/1.png'),
            ],
            None,
            'images 9 and 8 of a.json are both called b/1.png',
        ),
    ],
)
def test_names_that_are_not_clear(
    images: list, folder: str, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        image_keys([ImageName(**i) for i in images], 'a.json', folder)


@pytest.mark.parametrize(
    'kind, name, folder',
    [
        ('GZSLCocoDataset', '000000000009.jpg', 'train2017/'),
        ('GZSLLVISV1Dataset', '', ''),
        (
            'GZSLLVISV05Dataset',
            'COCO_train2014_000000000009.jpg',
            'train2017/',
        ),
        ('GZSLObjects365V2Dataset', 'images/v2/patch1/9.jpg', 'val/'),
    ],
)
def test_datasets_call_images_the_same(
    tmp_path: Path, kind: str, name: str, folder: str
) -> None:
    path = tmp_path / 'a.json'
    path.write_text(
        json.dumps(
            dict(
                images=[
                    dict(
                        id=9,
                        file_name=name,
                        coco_url=URL,
                        width=64,
                        height=48,
                        neg_category_ids=[],
                        not_exhaustive_category_ids=[],
                    )
                ],
                annotations=[],
                categories=[dict(id=1, name='cat')],
                gzsl=dict(base=['cat'], novel=[], subset='val'),
            )
        )
    )
    dataset = DATASETS.build(
        dict(
            type=kind,
            data_root='data/',
            ann_file=str(path),
            test_mode=True,
            data_prefix=dict(img=folder),
            pipeline=[],
        )
    )
    images = read_images(path)
    assert image_keys(images, path) == [
        image_key(dataset.get_data_info(0)['img_path'])
    ]
    assert image_sizes(images, path).tolist() == [[64, 48]]


def test_sizes_must_be_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='image 9 of a.json has no `width`'):
        image_sizes([ImageName(id=9, width=5)], 'a.json')
    (tmp_path / 'b.json').write_text('{"images": [{"id": null}]}')
    with pytest.raises(ValueError, match='b.json is not in COCO format'):
        read_images(tmp_path / 'b.json')
