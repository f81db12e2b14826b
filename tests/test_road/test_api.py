"""Words and images in, detections and pictures out."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from ovd.apis import OpenVocabularyDetector
from ovd.apis.image_demo import detect_and_draw
from ovd.engine.checkpoints import find_checkpoint

CONFIG = (
    Path(__file__).parents[2]
    / 'configs/miniature'
    / 'vild-ensemble_mask-rcnn_r18_fpn_miniature.py'
)
WORK_DIR = 'work_dirs/miniature/vild-ensemble'
IMAGE = 'data/miniature/val/000001.png'


@pytest.fixture(autouse=True)
def in_road(road: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(road)


@pytest.fixture
def detector() -> OpenVocabularyDetector:
    return OpenVocabularyDetector(CONFIG, find_checkpoint(WORK_DIR))


def test_the_vocabulary_is_an_argument(
    detector: OpenVocabularyDetector,
) -> None:
    assert len(detector.classes) == 65  # those of the config, at first
    before = {k: v.clone() for k, v in detector.model.state_dict().items()}
    detector.set_classes(['red circle', ' a thing never heard of '])
    assert detector.classes == ['red circle', 'a thing never heard of']
    file, array = detector.predict([IMAGE, cv2.imread(IMAGE)])
    assert set(file.pred_instances.labels.tolist()) <= {0, 1}
    assert file.pred_instances.masks.shape[1:] == (160, 160)
    np.testing.assert_allclose(
        file.pred_instances.scores, array.pred_instances.scores, rtol=1e-5
    )
    after = detector.model.state_dict()
    assert all((after[key] == before[key]).all() for key in before)


def test_order_and_company_of_words_only_permute_labels(
    detector: OpenVocabularyDetector,
) -> None:
    names = detector.classes
    (first,) = detector.predict(IMAGE, score_thr=0.05)
    detector.set_classes(names[::-1])
    (second,) = detector.predict(IMAGE, score_thr=0.05)
    assert [names[i] for i in first.pred_instances.labels] == [
        names[::-1][i] for i in second.pred_instances.labels
    ]


def test_score_threshold(detector: OpenVocabularyDetector) -> None:
    (everything,) = detector.predict(IMAGE)
    (some,) = detector.predict(IMAGE, score_thr=0.2)
    scores = everything.pred_instances.scores
    assert len(some.pred_instances) == (scores >= 0.2).sum() < len(scores)


@pytest.mark.parametrize(
    'names, message',
    [
        (['a', 'a'], 'several times'),
        (['a', ' '], 'non-empty'),
        ([], 'at least one'),
    ],
)
def test_wrong_words(
    detector: OpenVocabularyDetector, names: list, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        detector.set_classes(names)


def test_missing_files(detector: OpenVocabularyDetector) -> None:
    with pytest.raises(FileNotFoundError, match='image gone.png'):
        detector.predict('gone.png')
    with pytest.raises(FileNotFoundError, match='checkpoint gone.pth'):
        OpenVocabularyDetector(CONFIG, 'gone.pth')


def test_a_config_without_vocabulary(tmp_path: Path) -> None:
    rpn = CONFIG.with_name('rpn_r18_fpn_miniature.py')
    with pytest.raises(ValueError, match='RPN without a vocabulary'):
        OpenVocabularyDetector(rpn, find_checkpoint('work_dirs/miniature/rpn'))


def test_pictures_of_a_pattern(tmp_path: Path, capsys) -> None:
    pictures = detect_and_draw(
        'data/miniature/val/00000[1-2].png',
        str(CONFIG),
        WORK_DIR,
        ['green ring', 'cross'],
        0.0,
        str(tmp_path),
    )
    assert [p.name for p in pictures] == ['000001.png', '000002.png']
    assert not pictures.passed_over
    for picture in pictures:
        drawn = cv2.imread(str(picture))
        plain = cv2.imread(f'data/miniature/val/{picture.name}')
        assert drawn.shape == (480, 480, 3)
        plain = cv2.resize(plain, (480, 480), interpolation=cv2.INTER_CUBIC)
        assert (drawn != plain).any()
    with pytest.raises(ValueError, match='is one of the images'):
        detect_and_draw(
            IMAGE, str(CONFIG), WORK_DIR, None, 0.0, 'data/miniature/val'
        )
    with pytest.raises(FileNotFoundError, match='no pattern that fits'):
        detect_and_draw(
            'nothing*.png', str(CONFIG), WORK_DIR, None, 0.0, str(tmp_path)
        )
