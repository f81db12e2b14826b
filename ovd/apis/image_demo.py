"""The work of ``tools/image_demo.py``."""
from pathlib import Path
from typing import List, Sequence

from mmengine.utils import scandir
from tqdm import tqdm

from ovd.artifacts.files import require_file
from ovd.engine.checkpoints import find_checkpoint

from .drawing import draw_detections
from .open_vocabulary_detector import OpenVocabularyDetector

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def detect_and_draw(image: str, config: str, checkpoint: str,
                    texts: Sequence[str], score_thr: float,
                    out_dir: str) -> List[Path]:
    """Detect ``texts`` in an image or a folder of images; write pictures.

    Args:
        image (str): Image file, or folder.
        config (str): Config file.
        checkpoint (str): Checkpoint, or folder of a training run.
        texts (Sequence[str]): Class names.
        score_thr (float): Draw nothing that scores lower.
        out_dir (str): Folder of the pictures, which keep their names.

    Returns:
        List[Path]: The pictures.
    """
    images = _list_images(image)
    detector = OpenVocabularyDetector(config, find_checkpoint(checkpoint))
    detector.set_classes(texts)
    pictures = []
    for path in tqdm(images, desc='detecting', unit='image'):
        sample, = detector.predict(path, score_thr)
        picture = Path(out_dir) / f'{path.stem}.png'
        draw_detections(path, sample, detector.classes, picture)
        found = sample.pred_instances
        for label, score in zip(found.labels, found.scores):
            tqdm.write(f'{path.name}: {detector.classes[label]} {score:.2f}')
        pictures.append(picture)
    for picture in pictures:
        print(picture)
    return pictures


def _list_images(image: str) -> List[Path]:
    """Return the image, or the images of a folder in order of name."""
    path = Path(image)
    if not path.is_dir():
        return [require_file(path, 'image')]
    found = sorted(
        path / name for name in scandir(
            path, suffix=IMAGE_SUFFIXES, case_sensitive=False))
    if not found:
        raise FileNotFoundError(
            f'{path} holds no image ({", ".join(IMAGE_SUFFIXES)})')
    return found
