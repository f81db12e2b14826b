"""Tests of image embeddings of boxes against openai-clip's transform."""

import json
from pathlib import Path

import clip.clip
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from ovd.clip.building import build_clip
from ovd.clip.crops import crop_windows, cut_crops
from ovd.clip.image_encoder import (
    embed_boxes,
    embed_boxes_of_images,
    encode_crops,
)
from ovd.clip.loading import LoadedCLIP, load_clip

COCO_TINY = Path(__file__).parents[2] / '../shared/data/coco_tiny'


@pytest.fixture(scope='module', params=['tiny_clip_path', 'tiny_vit_path'])
def tiny(request):
    return load_clip(request.getfixturevalue(request.param))


def _image(height=60, width=90, seed=0):
    """A smooth random image, as photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), np.uint8)
    return np.array(
        Image.fromarray(small).resize((width, height), Image.BICUBIC)
    )


def _by_openai(model, image, windows, side=64):
    """Features of crops (N, D) by PIL and openai-clip's own transform."""
    transform = clip.clip._transform(side)
    crops = [transform(Image.fromarray(image).crop(w)) for w in windows]
    return model.encode_image(torch.stack(crops))


def test_embed_boxes_is_the_normalised_sum_of_scales(tiny):
    image = _image()
    bboxes = np.array(
        [[10.4, 20.4, 30.4, 50.4], [0, 0, 90, 60], [50.2, 5.1, 88.8, 14.9]],
        np.float32,
    )
    actual = embed_boxes(tiny, image, bboxes)
    features = [
        _by_openai(tiny.model, image, crop_windows(bboxes, scale).tolist())
        for scale in (1.0, 1.5)
    ]
    expected = F.normalize(features[0] + features[1], dim=-1)
    assert actual.shape == (3, 64) and actual.dtype == torch.float32
    torch.testing.assert_close(actual.norm(dim=1), torch.ones(3))
    assert F.cosine_similarity(actual, expected).min() > 0.999


@pytest.fixture(scope='module')
def photographs():
    """Real images (H, W, 3) with the boxes (P, 4) of their objects."""
    if not COCO_TINY.is_dir():
        pytest.skip(f'{COCO_TINY} does not exist')
    content = json.loads(
        (COCO_TINY / 'annotations/instances_val2017.json').read_text()
    )
    boxes = {}
    for annotation in content['annotations']:
        x, y, width, height = annotation['bbox']
        boxes.setdefault(annotation['image_id'], []).append(
            [x, y, x + width, y + height]
        )
    chosen = [
        image
        for image in content['images']
        if len(boxes.get(image['id'], ())) >= 5
    ][:8]
    assert len(chosen) == 8
    return [
        (
            np.array(
                Image.open(COCO_TINY / 'val2017' / image['file_name']).convert(
                    'RGB'
                )
            ),
            np.array(boxes[image['id']][:5]),
        )
        for image in chosen
    ]


@pytest.fixture(scope='module')
def vit_b_32():
    """A CLIP of ViT-B/32's size with random weights."""
    torch.manual_seed(0)
    model = build_clip(512, 224, 12, 768, 64, 1)
    return LoadedCLIP(model.eval().requires_grad_(False), 'random', '0' * 64)


@pytest.fixture(scope='module')
def by_openai(photographs, vit_b_32):
    """Features (N, D) of both crops of all boxes, by openai-clip's means."""
    return torch.cat(
        [
            _by_openai(
                vit_b_32.model,
                image,
                crop_windows(bboxes, scale).tolist(),
                224,
            )
            for image, bboxes in photographs
            for scale in (1.0, 1.5)
        ]
    )


@pytest.mark.parametrize(
    'crop_mode, mean, worst', [('clip', 0.9999, 0.9999), ('fast', 0.999, 0.99)]
)
def test_photographs_embed_as_by_openai_transform(
    photographs, vit_b_32, by_openai, crop_mode, mean, worst
):
    chunks = (
        cut_crops(image, crop_windows(bboxes, scale), 224, crop_mode)
        for image, bboxes in photographs
        for scale in (1.0, 1.5)
    )
    actual = torch.cat([*encode_crops(vit_b_32, chunks, 16)])
    cosines = F.cosine_similarity(actual, by_openai)
    assert len(cosines) == 80
    assert cosines.mean() >= mean and cosines.min() >= worst


@pytest.mark.parametrize('batch_size', [1, 4, 256])
def test_batches_across_images(tiny, batch_size):
    images = [_image(seed=seed) for seed in range(3)]
    bboxes_list = [
        torch.tensor([[10.0, 10, 40, 40], [0, 0, 20, 30]]),
        torch.zeros(0, 4),
        torch.tensor([[5.0, 5, 80, 55], [0, 0, 9, 3], [1, 1, 2, 2]]),
    ]
    actual = embed_boxes_of_images(
        tiny, iter(images), bboxes_list, batch_size=batch_size
    )
    assert [len(rows) for rows in actual] == [2, 0, 3]
    for image, bboxes, rows in zip(images, bboxes_list, actual, strict=True):
        torch.testing.assert_close(
            rows, embed_boxes(tiny, image, bboxes), rtol=0, atol=1e-5
        )


def test_no_boxes_and_no_images(tiny):
    image = _image()[:, ::-1]  # a view with a negative stride
    assert embed_boxes(tiny, image, np.zeros((0, 4))).shape == (0, 64)
    assert embed_boxes_of_images(tiny, [], []) == []


@pytest.mark.parametrize('box', [[5, 5, 5, 5], [0, 3.2, 9, 3.2]])
def test_box_without_area_is_widened(tiny, box):
    embeddings = embed_boxes(tiny, _image(), np.array([box]))
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(1))


@pytest.mark.parametrize(
    'bboxes, message',
    [
        ([[9.0, 5, 5, 9]], r'x1 <= x2, .*got \[9.0, 5.0, 5.0, 9.0\] in row 0'),
        ([[0.0, 0, 1, 1], [0, 0, np.nan, 1]], 'in row 1'),
        ([[0.0, 0, np.inf, 1]], 'in row 0'),
        ([[91.0, 0, 99, 9]], 'width 90 and height 60.*boxes of another image'),
        ([[0.0, -9, 9, -1]], 'boxes of another image'),
        ([[1.0, 2, 3]], r'shape \(P, 4\), got \(1, 3\)'),
    ],
)
def test_wrong_boxes(tiny, bboxes, message):
    with pytest.raises(ValueError, match=message):
        embed_boxes(tiny, _image(), np.array(bboxes))


@pytest.mark.parametrize(
    'image, message',
    [
        (np.zeros((3, 9, 9), np.uint8), r'got uint8 \(3, 9, 9\)'),
        (np.zeros((9, 9, 3)), 'got float64'),
        (torch.zeros(9, 9, 3), 'got Tensor'),
    ],
)
def test_wrong_images(tiny, image, message):
    with pytest.raises(ValueError, match=message):
        embed_boxes(tiny, image, np.zeros((1, 4)))


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(crop_scales=()), 'crop_scales must be positive'),
        (dict(crop_scales=(1.0, -1.5)), 'crop_scales must be positive'),
        (dict(batch_size=0), 'batch_size must be positive'),
    ],
)
def test_wrong_settings(tiny, settings, message):
    with pytest.raises(ValueError, match=message):
        embed_boxes(tiny, _image(), np.zeros((1, 4)), **settings)


def test_images_and_boxes_must_pair(tiny):
    with pytest.raises(ValueError, match='argument 2 is shorter'):
        embed_boxes_of_images(tiny, [_image(), _image()], [np.zeros((1, 4))])


def test_crop_mode_clip_is_openai_preprocessing(tiny):
    image = _image()
    bboxes = np.array([[10.4, 20.4, 30.4, 50.4], [0, 0, 90, 60]])
    features = sum(
        _by_openai(tiny.model, image, crop_windows(bboxes, scale).tolist())
        for scale in (1.0, 1.5)
    )
    actual = embed_boxes(tiny, image, bboxes, crop_mode='clip')
    assert F.cosine_similarity(actual, features).min() >= 0.9999


@pytest.mark.parametrize('batch_size', [1, 3, 4, 100])
def test_features_come_back_chunk_by_chunk(tiny, batch_size):
    crops = torch.randint(0, 256, (9, 3, 64, 64), dtype=torch.uint8)
    sizes = [0, 5, 0, 3, 1, 0]
    (whole,) = encode_crops(tiny, [crops], 100)
    chunks = encode_crops(tiny, iter(crops.split(sizes)), batch_size)
    expected = whole.split(sizes)
    for actual, rows in zip(chunks, expected, strict=True):
        torch.testing.assert_close(actual, rows, rtol=0, atol=1e-5)


def test_same_crop_is_encoded_once(tiny, monkeypatch):
    counts = []
    encode = type(tiny).encode_image

    def counted(self, images):
        counts.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(type(tiny), 'encode_image', counted)
    box = [10.0, 10, 30, 20]
    embed_boxes(tiny, _image(), np.array([box, box, [5, 7.5, 35, 22.5]]))
    assert sum(counts) == 3
