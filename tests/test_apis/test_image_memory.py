"""Images are encoded once, in batches, and never mixed up."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector
from mmdet.structures import DetDataSample
from PIL import Image

from ovd.apis import OpenVocabularyDetector
from ovd.apis.detector_building import default_cache
from ovd.apis.image_sources import SourceImage

CONFIG = 'configs/miniature/vild-ensemble_mask-rcnn_r18_fpn_miniature.py'
RUN = 'work_dirs/miniature/vild-ensemble'
FIRST, SECOND, THIRD = (
    f'data/miniature/val/00000{number}.png' for number in (1, 2, 3)
)
NAMES, OTHERS = ['red circle', 'blue star'], ['heart', 'ring', 'red circle']


@pytest.fixture(autouse=True)
def folder(in_untrained: Path) -> Path:
    return in_untrained


def build(**kwargs) -> OpenVocabularyDetector:
    return OpenVocabularyDetector(CONFIG, RUN, device='cpu', **kwargs)


@pytest.fixture(scope='module')
def shared(untrained: Path) -> OpenVocabularyDetector:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(untrained)
        return build()


@pytest.fixture
def detector(shared: OpenVocabularyDetector) -> OpenVocabularyDetector:
    """One for all tests, with nothing in its memory."""
    shared._memory._kept.clear()
    shared._memory.size = 1
    shared.set_classes(NAMES)
    return shared


@pytest.fixture
def batch_sizes(detector: OpenVocabularyDetector) -> List[int]:
    """Sizes of the batches that the backbone sees."""
    seen: List[int] = []
    handle = detector.model.backbone.register_forward_pre_hook(
        lambda _, inputs: seen.append(len(inputs[0]))
    )
    yield seen
    handle.remove()


def assert_same(one: DetDataSample, other: DetDataSample) -> None:
    one, other = one.pred_instances, other.pred_instances
    assert len(one) == len(other) > 0
    assert torch.equal(one.labels, other.labels)
    for key in ('bboxes', 'scores'):
        torch.testing.assert_close(one[key], other[key], rtol=1e-4, atol=1e-4)
    assert (one.masks != other.masks).float().mean() < 1e-3


def test_another_vocabulary_needs_no_other_encoding(detector, batch_sizes):
    (before,) = detector.predict(FIRST)
    detector.set_classes(OTHERS)
    (after,) = detector.predict(cv2.imread(FIRST))  # the same pixels
    detector.predict(FIRST, classes=NAMES)
    assert batch_sizes == [1]
    fresh = build()
    assert_same(before, fresh.predict(FIRST, classes=NAMES)[0])
    fresh.set_classes(OTHERS)
    assert_same(after, fresh.predict(FIRST)[0])


def test_it_is_what_the_host_finds(detector):
    (found,) = detector.predict(FIRST)
    expected = inference_detector(detector.model, FIRST)
    assert_same(found, expected)
    assert found.img_path == expected.img_path


def test_the_last_images_are_kept(detector, batch_sizes):
    detector.predict([FIRST, SECOND], batch_size=1)
    detector.predict(SECOND)
    assert batch_sizes == [1, 1]
    detector.predict(FIRST)
    assert batch_sizes == [1, 1, 1]
    detector._memory.size = 2
    detector.predict([SECOND, FIRST, FIRST])
    detector.predict([FIRST, SECOND])
    assert batch_sizes == [1, 1, 1, 1]


def test_a_change_of_the_weights_forgets_images(detector, batch_sizes):
    detector.predict(FIRST)
    weight = next(detector.model.rpn_head.parameters())
    with torch.no_grad():
        weight.mul_(1)
    detector.predict(FIRST)
    assert batch_sizes == [1, 1]


def test_what_is_kept_is_no_part_of_a_batch(detector):
    detector.predict([FIRST, SECOND])
    (kept,) = detector._memory._kept.values()
    for level in kept.features:
        assert level.untyped_storage().nbytes() == level.numel() * 4


def test_images_of_one_size_are_one_batch(detector, batch_sizes):
    wide = np.ascontiguousarray(cv2.imread(FIRST)[:100])
    images = [FIRST, wide, SECOND, THIRD, wide[::-1]]
    found = detector.predict(images)
    assert sorted(batch_sizes) == [2, 3]
    assert [sample.ori_shape for sample in found] == [
        (160, 160),
        (100, 160),
        (160, 160),
        (160, 160),
        (100, 160),
    ]
    assert [sample.img_id for sample in found] == [0, 1, 2, 3, 4]
    for image, sample in zip(images, found):
        assert_same(sample, detector.predict(image, batch_size=1)[0])
    del batch_sizes[:]
    assert len(detector.predict(images[:1] + images[2:4], batch_size=2)) == 3
    assert sorted(batch_sizes) == [1, 2]


def test_whatever_the_image_comes_as(detector):
    array = cv2.imread(FIRST)
    picture = Image.fromarray(array[..., ::-1])
    found = detector.predict([FIRST, Path(FIRST), array, picture])
    assert [s.img_path for s in found] == [FIRST, FIRST, None, None]
    for sample in found[1:]:
        assert_same(sample, found[0])
    folder = detector.predict('data/miniature/val')
    assert [s.img_path for s in folder] == [FIRST, SECOND, THIRD]
    assert detector.predict([]) == []


@pytest.mark.parametrize(
    'image, message',
    [
        ('data/miniature/prompt/vild.pth', 'vild.pth is damaged or no image'),
        (np.zeros((4, 4, 3)), 'got float64 of the shape'),
        (
            np.zeros((4, 4), np.uint8),
            r'shape \(H, W, 3\), got uint8 of .*\(4, 4',
        ),
        (3, 'an array or an image of PIL, got int'),
        (
            SourceImage(np.zeros((2, 3000, 3), np.uint8)),
            'the image has 3000 x 2 pixels, .* too thin',
        ),
        ('data/miniature/val/00001.png', 'image .* did you mean "000001.png"'),
        (
            'data/miniature/prompt',
            'prompt is no image, .* no folder that holds',
        ),
    ],
)
def test_what_is_no_image(detector, image, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        detector.predict([image])


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(score_thr=1.5), r'score_thr must be in \[0, 1\], got 1.5'),
        (dict(score_thr=float('nan')), 'got nan'),
        (dict(batch_size=0), 'batch_size must be positive'),
        (dict(templates='vild'), 'templates are for the names in classes'),
        (dict(classes='red circle'), 'a list, or a file of class embeddings'),
        (dict(classes='vild.safetensors'), 'must end in .pth, got .*vild'),
        (dict(classes='gone.pth'), 'class embeddings gone.pth does not exist'),
        (
            dict(classes='data/miniature/prompt/vild.pth', templates='none'),
            'class embeddings were made with theirs',
        ),
    ],
)
def test_wrong_options(detector, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        detector.predict(FIRST, **options)
    assert detector.classes == NAMES


def test_classes_of_one_call_change_nothing_else(detector):
    found = detector.predict(FIRST, classes='data/miniature/prompt/vild.pth')
    assert found.classes == ['red circle', 'blue star', 'ring']
    assert found.base_classes == ['red circle']
    assert detector.classes == NAMES
    assert detector.model.dataset_meta['classes'] == tuple(NAMES)
    assert detector.predict(FIRST).classes == NAMES


def test_users_at_once_do_not_mix(detector):
    """Each gets what they would get alone, whoever comes between."""
    jobs = [
        (FIRST, NAMES),
        (SECOND, OTHERS),
        (FIRST, OTHERS),
        (SECOND, ['heart']),
    ]
    alone = [detector.predict(image, classes=names) for image, names in jobs]
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(
                lambda job: detector.predict(job[0], classes=job[1]), jobs * 3
            )
        )
    for one, (_, names), expected in zip(found, jobs * 3, alone * 3):
        assert one.classes == names
        assert_same(one[0], expected[0])


def test_the_folder_of_the_cache(monkeypatch):
    monkeypatch.setenv('OVD_CACHE', '/a')
    monkeypatch.setenv('XDG_CACHE_HOME', '/b')
    monkeypatch.setenv('HOME', '/c')
    assert default_cache() == Path('/a')
    monkeypatch.delenv('OVD_CACHE')
    assert default_cache() == Path('/b/ovd')
    monkeypatch.delenv('XDG_CACHE_HOME')
    assert default_cache() == Path('/c/.cache/ovd')


def test_a_misspelt_config_is_refused(folder, tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(
        f"_base_ = '{folder / CONFIG}'\n"
        'test_dataloader = dict(dataset=dict(tset_mode=True))\n'
    )
    with pytest.raises(
        ValueError,
        match='test_dataloader.dataset.tset_mode: '
        '.* takes no "tset_mode"; did you mean "test_mode"',
    ):
        OpenVocabularyDetector(path, RUN, device='cpu')


def test_weights_that_are_missing_are_told(folder, tmp_path):
    content = torch.load(f'{RUN}/iter_1.pth', weights_only=True)
    del content['state_dict']['rpn_head.rpn_conv.bias']
    torch.save(content, tmp_path / 'a.pth')
    with pytest.warns(UserWarning, match='rpn_head.rpn_conv.bias'):
        OpenVocabularyDetector(CONFIG, tmp_path / 'a.pth', device='cpu')


def test_what_scores_less_gets_no_mask(
    detector: OpenVocabularyDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full-size masks are most of the memory that a prediction takes."""
    (every,) = detector.predict(FIRST)
    scores = every.pred_instances.scores
    least = scores.sort().values[len(scores) // 2].item()
    head, masks = detector.model.roi_head.mask_head, []
    predict = type(head).predict_by_feat

    def count(self, mask_preds, *args, **kwargs):
        masks.extend(map(len, mask_preds))
        return predict(self, mask_preds, *args, **kwargs)

    monkeypatch.setattr(type(head), 'predict_by_feat', count)
    (some,) = detector.predict(FIRST, score_thr=least)
    kept = every.pred_instances[scores >= least]
    assert masks == [len(kept)] and 0 < len(kept) < len(scores)
    assert_same(some, DetDataSample(pred_instances=kept))
    assert len(detector.predict(FIRST)[0].pred_instances) == len(scores)
