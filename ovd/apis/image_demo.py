"""The work of ``tools/image_demo.py``."""
from glob import glob
from pathlib import Path
from typing import List, Optional, Sequence

import mmcv
from mmengine.structures import InstanceData
from torchvision.ops import nms
from tqdm import tqdm

from ovd.engine.checkpoints import find_checkpoint

from .drawing import draw_detections
from .open_vocabulary_detector import OpenVocabularyDetector

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def detect_and_draw(image: str, config: str, checkpoint: str,
                    texts: Optional[Sequence[str]], score_thr: float,
                    out_dir: str) -> List[Path]:
    """Detect ``texts`` in images; write pictures of what was found.

    Args:
        image (str): Image file, folder of images, or pattern (``*.jpg``).
        config (str): Config file.
        checkpoint (str): Checkpoint, or folder of a training run.
        texts (Sequence[str], optional): Class names; None for those of the
            config.
        score_thr (float): Draw nothing that scores lower.
        out_dir (str): Folder of the pictures, which keep their names.

    Returns:
        List[Path]: The pictures.

    Raises:
        FileNotFoundError: If there is no image.
        ValueError: If a picture would replace an image or another picture.
    """
    images = _list_images(image)
    pictures = [Path(out_dir) / f'{path.stem}.png' for path in images]
    _check_pictures(pictures, images)
    detector = OpenVocabularyDetector(config, find_checkpoint(checkpoint))
    if texts is not None:
        detector.set_classes(texts)
    for path, picture in zip(
            tqdm(images, desc='detecting', unit='image'), pictures):
        sample, = detector.predict(path, score_thr)
        sample.pred_instances = _one_per_object(sample.pred_instances)
        draw_detections(
            mmcv.imread(str(path), channel_order='rgb'), sample,
            detector.classes, detector.base_classes, picture)
        found = sample.pred_instances
        for label, score in zip(found.labels, found.scores):
            tqdm.write(f'{path.name}: {detector.classes[label]} {score:.2f}')
    print(*pictures, sep='\n')
    return pictures


def _check_pictures(pictures: Sequence[Path],
                    images: Sequence[Path]) -> None:
    """Raise a ValueError if writing the pictures would lose something."""
    for picture in pictures:
        if picture.exists() and any(
                image.samefile(picture) for image in images):
            raise ValueError(f'{picture} is one of the images: give another '
                             'folder for the pictures')
    if len(set(pictures)) < len(pictures):
        raise ValueError('several of the images have the same name, and their '
                         'pictures would too: draw them one by one')


def _one_per_object(found: InstanceData, iou_thr: float = 0.6) -> InstanceData:
    """Keep the best name of boxes that overlap: the host allows several."""
    return found[nms(found.bboxes, found.scores, iou_thr)]


def _list_images(image: str) -> List[Path]:
    """Return the images of a file, a folder or a pattern in order of name."""
    path = Path(image)
    if path.is_dir():
        found = sorted(item for item in path.iterdir()
                       if item.suffix.lower() in IMAGE_SUFFIXES)
    elif path.is_file():
        found = [path]
    else:
        found = sorted(Path(name) for name in glob(image))
    if not found:
        raise FileNotFoundError(
            f'{image} is no image, no pattern that fits one, and no folder '
            f'that holds one ({", ".join(IMAGE_SUFFIXES)})')
    return found
