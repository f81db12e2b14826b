"""The frozen CLIP of the extractor stays out of its weights."""
import numpy as np
import torch
from mmdet.registry import MODELS

from ovd.artifacts.files import sha256_file
from ovd.clip.image_encoder import embed_boxes


def _build(path, **kwargs):
    return MODELS.build(
        dict(type='ProposalFeatureExtractor', clip=path, **kwargs))


def test_no_weights_of_its_own(tiny_clip_path):
    model = _build(tiny_clip_path)
    assert not model.state_dict() and not list(model.parameters())
    assert model.teacher.identity['sha256'] == sha256_file(tiny_clip_path)


def test_clip_follows_the_device(tiny_clip_path):
    model = _build(tiny_clip_path).to('meta')
    assert model.teacher.device == torch.device('meta')


def test_same_as_image_by_image(tiny_clip_path):
    rng = np.random.RandomState(0)
    images = [rng.randint(0, 256, (40, 60, 3), np.uint8) for _ in range(3)]
    bboxes_list = [
        np.array([[0, 0, 20, 20], [10, 5, 60, 40]], np.float32),
        np.zeros((0, 4), np.float32),
        np.array([[3, 4, 9, 30]], np.float32)
    ]
    model = _build(tiny_clip_path, crop_scales=[1.0, 1.5], batch_size=4)
    found = model(iter(images), bboxes_list)
    assert [item.shape for item in found] == [(2, 64), (0, 64), (1, 64)]
    for image, bboxes, item in zip(images, bboxes_list, found):
        torch.testing.assert_close(
            item, embed_boxes(model.teacher, image, bboxes), atol=1e-5, rtol=0)
