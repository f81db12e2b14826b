"""CLIP names boxes: objectness times its own probabilities."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.clip.class_embedding_recipe import Recipe
from ovd.clip.image_encoder import embed_boxes
from ovd.clip.loading import load_clip
from ovd.models import CLIPOnBoxes

CONFIG = (
    Path(__file__).parents[2]
    / 'configs/miniature'
    / 'clip-on-boxes_mask-rcnn_r18_fpn_miniature.py'
)
NAMES = ['red circle', 'blue star']


def build(path: Path, clip: str) -> CLIPOnBoxes:
    """Return the detector of the miniature's config."""
    model = Config.fromfile(CONFIG).model
    model.roi_head.bbox_head.classifier.class_embeddings = str(path)
    return MODELS.build(dict(model, teacher=clip, class_embeddings=str(path)))


def test_class_embeddings_that_are_made_later(
    tmp_path: Path, tiny_clip_path: str
) -> None:
    path = tmp_path / 'vild.pth'
    model = build(path, tiny_clip_path)
    with pytest.raises(FileNotFoundError, match='vild.pth does not exist'):
        model.set_vocabulary(NAMES)
    made = Recipe(tiny_clip_path).make(NAMES)
    made.save(path)
    model.set_vocabulary(NAMES[::-1])
    assert model.source.names == NAMES
    assert torch.equal(model.class_embeddings, made.embeddings.flip(0))


@pytest.mark.parametrize('when', ['before', 'after'])
def test_class_embeddings_of_another_clip(
    tmp_path: Path, tiny_clip_path: str, when: str
) -> None:
    """They are refused before the first box is named."""
    other = ClassEmbeddings(
        NAMES, torch.eye(2, 64), dict(name='other', sha256='1' * 64), 'vild'
    )
    path = tmp_path / 'vild.pth'
    if when == 'before':
        other.save(path)
        with pytest.raises(ValueError, match='two CLIPs .*the teacher'):
            build(path, tiny_clip_path)
        return
    model = build(path, tiny_clip_path)
    other.save(path)
    with pytest.raises(ValueError, match='two CLIPs .*the teacher'):
        model.set_vocabulary(NAMES)


def test_scores_are_objectness_times_probability(
    tmp_path: Path, tiny_clip_path: str
) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), image[..., ::-1])
    clip = load_clip(tiny_clip_path)
    class_embeddings = torch.nn.functional.normalize(
        torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    )
    boxes = torch.tensor([[5.0, 5, 30, 40], [40.0, 10, 70, 50]])
    objectness = torch.tensor([0.9, 0.4])
    masks = torch.stack([torch.zeros(60, 80), torch.ones(60, 80)]).bool()
    sample = DetDataSample(metainfo=dict(img_path=str(tmp_path / 'a.png')))
    sample.pred_instances = InstanceData(
        bboxes=boxes,
        scores=objectness,
        masks=masks,
        labels=torch.zeros(2, dtype=torch.long),
    )
    model = SimpleNamespace(
        teacher=clip,
        class_embeddings=class_embeddings,
        temperature=0.05,
        max_per_img=7,
    )

    named = CLIPOnBoxes._name(model, sample)

    embeddings = embed_boxes(clip, image, boxes.numpy())
    expected = (embeddings @ class_embeddings.T / 0.05).softmax(
        1
    ) * objectness[:, None]
    assert len(named) == 7
    for box, label, score, mask in zip(
        named.bboxes, named.labels, named.scores, named.masks
    ):
        row = int((boxes == box).all(1).nonzero())
        assert torch.isclose(score, expected[row, label])
        assert torch.equal(mask, masks[row])
    best = expected.flatten().sort(descending=True).values[:7]
    torch.testing.assert_close(named.scores, best)


def test_an_image_without_boxes(tmp_path: Path, tiny_clip_path: str) -> None:
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((20, 20, 3), np.uint8))
    sample = DetDataSample(metainfo=dict(img_path=str(tmp_path / 'a.png')))
    sample.pred_instances = InstanceData(
        bboxes=torch.zeros(0, 4),
        scores=torch.zeros(0),
        labels=torch.zeros(0, dtype=torch.long),
    )
    model = SimpleNamespace(
        teacher=load_clip(tiny_clip_path),
        class_embeddings=torch.eye(5, 64),
        temperature=0.05,
        max_per_img=7,
    )
    assert len(CLIPOnBoxes._name(model, sample)) == 0
