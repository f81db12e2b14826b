"""A detector in Python needs its class embeddings at once."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from ovd.apis import OpenVocabularyDetector
from ovd.clip.class_embedding_recipe import Recipe

CONFIG = (
    Path(__file__).parents[2]
    / 'configs/miniature'
    / 'vild-ensemble_mask-rcnn_r18_fpn_miniature.py'
)
NAMES = ['red circle', 'blue star']


def test_class_embeddings_may_be_missing_or_there(
    tmp_path: Path, tiny_clip_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = MODELS.build(Config.fromfile(CONFIG).model)
    torch.save(
        dict(state_dict=model.state_dict(), meta=dict(dataset_meta={})),
        'a.pth',
    )
    with pytest.raises(
        FileNotFoundError,
        match='vild.pth does not exist\nmake it with: python tools/class',
    ):
        OpenVocabularyDetector(CONFIG, 'a.pth', device='cpu')
    Recipe(tiny_clip_path).make(NAMES).save('data/miniature/prompt/vild.pth')
    with pytest.warns(UserWarning, match='a.pth does not say which classes'):
        detector = OpenVocabularyDetector(CONFIG, 'a.pth', device='cpu')
    assert detector.classes == NAMES
    classifier = detector.model.roi_head.bbox_head.classifier
    assert classifier.novel_mask.tolist() == [True, True]
    detector.base_classes = NAMES[:1]
    assert classifier.novel_mask.tolist() == [False, True]
    detector.set_classes(detector._vocabulary)
    assert classifier.novel_mask.tolist() == [False, True]


def test_base_classes_are_known_in_either_spelling(
    tmp_path: Path, tiny_clip_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Novel classes are scored in another way."""
    monkeypatch.chdir(tmp_path)
    names = ['speaker_(stereo_equipment)', 'blue star']
    Recipe(tiny_clip_path).make(names).save('data/miniature/prompt/vild.pth')
    model = MODELS.build(Config.fromfile(CONFIG).model)
    base = dict(base_classes=('speaker_(stero_equipment)',))
    torch.save(
        dict(state_dict=model.state_dict(), meta=dict(dataset_meta=base)),
        'a.pth',
    )
    detector = OpenVocabularyDetector(CONFIG, 'a.pth', device='cpu')
    classifier = detector.model.roi_head.bbox_head.classifier
    assert classifier.novel_mask.tolist() == [False, True]
