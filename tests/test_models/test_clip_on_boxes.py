"""CLIP names boxes: objectness times its own probabilities."""
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from ovd.clip.image_encoder import embed_boxes
from ovd.clip.loading import load_clip
from ovd.models import CLIPOnBoxes


def test_scores_are_objectness_times_probability(tmp_path: Path,
                                                 tiny_clip_path: str) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), image[..., ::-1])
    clip = load_clip(tiny_clip_path)
    class_embeddings = torch.nn.functional.normalize(
        torch.randn(5, 64, generator=torch.Generator().manual_seed(0)))
    boxes = torch.tensor([[5., 5, 30, 40], [40., 10, 70, 50]])
    objectness = torch.tensor([0.9, 0.4])
    masks = torch.stack([torch.zeros(60, 80), torch.ones(60, 80)]).bool()
    sample = DetDataSample(metainfo=dict(img_path=str(tmp_path / 'a.png')))
    sample.pred_instances = InstanceData(
        bboxes=boxes, scores=objectness, masks=masks,
        labels=torch.zeros(2, dtype=torch.long))
    model = SimpleNamespace(
        teacher=clip, class_embeddings=class_embeddings,
        temperature=0.05, max_per_img=7)

    named = CLIPOnBoxes._name(model, sample)

    embeddings = embed_boxes(clip, image, boxes.numpy())
    expected = (embeddings @ class_embeddings.T / 0.05).softmax(1) * \
        objectness[:, None]
    assert len(named) == 7
    for box, label, score, mask in zip(named.bboxes, named.labels,
                                       named.scores, named.masks):
        row = int((boxes == box).all(1).nonzero())
        assert torch.isclose(score, expected[row, label])
        assert torch.equal(mask, masks[row])
    best = expected.flatten().sort(descending=True).values[:7]
    torch.testing.assert_close(named.scores, best)


def test_an_image_without_boxes(tmp_path: Path, tiny_clip_path: str) -> None:
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((20, 20, 3), np.uint8))
    sample = DetDataSample(metainfo=dict(img_path=str(tmp_path / 'a.png')))
    sample.pred_instances = InstanceData(
        bboxes=torch.zeros(0, 4), scores=torch.zeros(0),
        labels=torch.zeros(0, dtype=torch.long))
    model = SimpleNamespace(
        teacher=load_clip(tiny_clip_path),
        class_embeddings=torch.eye(5, 64), temperature=0.05, max_per_img=7)
    assert len(CLIPOnBoxes._name(model, sample)) == 0
