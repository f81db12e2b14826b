"""Words and images in, detections out."""

import os
import threading
import warnings
from contextlib import contextmanager
from time import perf_counter
from typing import Iterator, List, Optional, Sequence, Union

import numpy as np
import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.structures import DetDataSample
from mmdet.utils import get_test_pipeline_cfg

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.files import PathLike
from ovd.artifacts.provenance import check_same_clip
from ovd.artifacts.seen_classes import read_clip
from ovd.clip.name_embedder import NameEmbedder
from ovd.clip.text_cache import TextCache
from ovd.engine.checkpoints import find_checkpoint
from ovd.models.detectors.clip_on_boxes import CLIPOnBoxes
from ovd.spelling import canonical_spelling

from .detections import Detections
from .detector_building import build_detector, choose_device, default_cache
from .image_memory import ImageMemory, batches, detect
from .image_sources import Image, SourceImage, expand_folders, read_image

Names = Union[Sequence[str], PathLike, ClassEmbeddings]


class OpenVocabularyDetector:
    """A trained detector whose vocabulary is an argument.

    It starts with the names of the class embeddings in its config. An image
    is encoded once, however often the vocabulary changes, and so is a name,
    whose embedding is also kept on disk: in the folder ``OVD_CACHE``, or
    ``~/.cache/ovd``, which may be deleted at any time.

    Threads may share a detector. Those that want different vocabularies give
    them to :meth:`predict`, as ``classes``: :meth:`set_classes` is for all.

    Args:
        config (PathLike): Config file of a two-stage detector with
            ``set_vocabulary``, such as the ones under ``configs/miniature``.
        checkpoint (PathLike): Its checkpoint, or the work folder of a
            training run: its last one.
        device (str): ``'auto'`` takes a GPU where there is one. Defaults to
            ``'auto'``.
        remember (int): How many of the last images are kept encoded, on the
            device; 100 MB each for 1,333 x 800 pixels. Defaults to 1.
        cache (PathLike, optional): Folder of the embeddings of names, None
            for none. Defaults to ``'auto'``, see above.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If there is no such device, a type or argument of the
            config does not exist, its model has no vocabulary to set, or
            class embeddings of another CLIP than the checkpoint's.

    Example:
        >>> from ovd.apis import OpenVocabularyDetector
        >>> detector = OpenVocabularyDetector(
        ...     'configs/miniature/'
        ...     'vild-ensemble_mask-rcnn_r18_fpn_miniature.py',
        ...     'work_dirs/miniature/vild-ensemble', device='cpu')
        >>> detector.set_classes(['red circle', 'striped blue star'])
        >>> sample, = detector.predict('data/miniature/val/000001.png')
        >>> found = sample.pred_instances
        >>> found.bboxes.shape == (len(found), 4)
        True
        >>> found.masks.shape == (len(found), 160, 160)
        True
        >>> names = [detector.classes[label] for label in found.labels]
        >>> set(names) <= {'red circle', 'striped blue star'}
        True
    """

    def __init__(
        self,
        config: PathLike,
        checkpoint: PathLike,
        device: str = 'auto',
        remember: int = 1,
        cache: Optional[PathLike] = 'auto',
    ) -> None:
        if remember < 0:
            raise ValueError(f'remember must not be negative, got {remember}')
        device = choose_device(device)
        checkpoint = find_checkpoint(str(checkpoint))
        self.model = build_detector(str(config), checkpoint, device)
        self._heads = [
            m for m in self.model.modules() if hasattr(m, 'set_vocabulary')
        ]
        if not self._heads or not isinstance(self.model, TwoStageDetector):
            raise ValueError(
                f'{config} describes a {type(self.model).__name__} without a '
                'vocabulary; use a config with a ViLD box head'
            )
        trained_with = read_clip(checkpoint)
        if trained_with is not None:
            check_same_clip(
                trained_with,
                self._heads[0].clip,
                f'the detector {checkpoint}',
                'the class embeddings of its config',
            )
        if 'base_classes' not in self.model.dataset_meta:
            warnings.warn(
                f'{checkpoint} does not say which classes had boxes in its '
                'training: all names are taken for novel ones, which an '
                'ensemble scores in another way; set base_classes if you '
                'know them',
                stacklevel=2,
            )
        folder = default_cache() if cache == 'auto' else cache
        trained = self._heads[0].source
        self._embedder = NameEmbedder(
            trained, device, None if folder is None else TextCache(folder)
        )
        self._memory = ImageMemory(self.model, remember)
        loader = get_test_pipeline_cfg(self.model.cfg)[0]
        self._decoding = (
            loader.get('color_type', 'color'),
            loader.get('imdecode_backend', 'cv2'),
        )
        self._lock = threading.RLock()  # of the model, and its vocabulary
        self._in_heads: Optional[ClassEmbeddings] = None
        self.set_classes(trained)

    @property
    def classes(self) -> List[str]:
        """The names of :meth:`set_classes`."""
        return list(self._vocabulary.names)

    @property
    def base_classes(self) -> Sequence[str]:
        """The names that had boxes in training; others are novel."""
        return self.model.dataset_meta.get('base_classes', ())

    @base_classes.setter
    def base_classes(self, names: Sequence[str]) -> None:
        with self._lock:
            self.model.dataset_meta = dict(
                self.model.dataset_meta, base_classes=tuple(names)
            )
            self._in_heads = None
            self._use(self._vocabulary)

    def set_classes(
        self, names: Names, templates: Optional[str] = None
    ) -> None:
        """Detect these classes from now on; any words will do.

        Args:
            names (Names): Class names; or class embeddings of the same CLIP,
                or a file of them, of ``tools/class_embeddings.py``.
            templates (str, optional): Set of prompt templates for the names,
                such as ``'vild'``. Defaults to the one that the detector was
                trained with.

        Raises:
            FileNotFoundError: If there is no such file, or CLIP's is missing.
            ValueError: If there are no names, a name is empty, too long or
                stands there twice, another CLIP made the embeddings, or it
                is not known which sentences the detector was trained with.

        Example:
            >>> from ovd.apis import OpenVocabularyDetector
            >>> detector = OpenVocabularyDetector(
            ...     'configs/miniature/'
            ...     'vild-ensemble_mask-rcnn_r18_fpn_miniature.py',
            ...     'work_dirs/miniature/vild-ensemble', device='cpu')
            >>> detector.set_classes(['heart', 'ring'], templates='photo')
            >>> detector.classes
            ['heart', 'ring']
            >>> detector.set_classes('data/miniature/prompt/vild.pth')
        """
        vocabulary = self._embed(names, templates)
        with self._lock:
            self._use(vocabulary)
            self._vocabulary = vocabulary

    def _embed(
        self, names: Names, templates: Optional[str]
    ) -> ClassEmbeddings:
        """Return the class embeddings of what a user calls classes."""
        if isinstance(names, str) and not names.endswith('.pth'):
            raise ValueError(
                'names must be a list, or a file of class embeddings, which '
                f'must end in .pth, got the string {names!r}'
            )
        if not isinstance(names, (str, os.PathLike, ClassEmbeddings)):
            return self._embedder.embed(names, templates)
        if templates is not None:
            raise ValueError(
                'templates are for names: class embeddings were made with '
                f'theirs, got templates={templates!r} beside them'
            )
        if not isinstance(names, ClassEmbeddings):
            names = ClassEmbeddings.load(names)
        if not names.names:
            raise ValueError('expected at least one name, got none')
        return names

    def _use(self, vocabulary: ClassEmbeddings) -> None:
        """Put a vocabulary into the model; the lock must be held."""
        if vocabulary is self._in_heads:
            return
        base = set(map(canonical_spelling, self.base_classes))
        novel = {
            name
            for name in vocabulary.names
            if canonical_spelling(name) not in base
        }
        self._in_heads = None  # if this fails it is in between
        for head in self._heads:
            head.set_vocabulary(vocabulary.names, novel, vocabulary)
        self.model.dataset_meta = dict(
            self.model.dataset_meta, classes=tuple(vocabulary.names)
        )
        self._in_heads = vocabulary

    def read(self, image: Image) -> SourceImage:
        """Read an image as :meth:`predict` does, which also takes the result.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged, or no image.
        """
        return read_image(image, *self._decoding)

    def predict(
        self,
        images: Union[Image, Sequence[Image]],
        score_thr: float = 0.0,
        classes: Optional[Names] = None,
        templates: Optional[str] = None,
        batch_size: int = 4,
    ) -> Detections:
        """Detect the classes of :meth:`set_classes`, or others this once.

        Args:
            images (Image | Sequence[Image]): Files, folders, BGR uint8 arrays
                (H, W, 3), or images of PIL, also mixed.
            score_thr (float): Leave out what scores lower. Defaults to 0.
            classes (Names, optional): What to detect in this call alone; see
                :meth:`set_classes`.
            templates (str, optional): For ``classes``.
            batch_size (int): Most images that go through the network
                together, if it sees them in one size. Defaults to 4.

        Returns:
            Detections: A list of ``DetDataSample``, one per image.

        Raises:
            FileNotFoundError: If an image is missing, or a folder has none.
            ValueError: If an image is damaged or of another form, or see
                :meth:`set_classes`.

        Example:
            >>> from ovd.apis import OpenVocabularyDetector
            >>> detector = OpenVocabularyDetector(
            ...     'configs/miniature/'
            ...     'vild-ensemble_mask-rcnn_r18_fpn_miniature.py',
            ...     'work_dirs/miniature/vild-ensemble', device='cpu')
            >>> import cv2
            >>> array = cv2.imread('data/miniature/val/000001.png')
            >>> found = detector.predict(
            ...     ['data/miniature/val/000002.png', array],
            ...     score_thr=0.3, classes=['heart', 'ring'])
            >>> found.classes
            ['heart', 'ring']
            >>> [sample.img_path for sample in found]
            ['data/miniature/val/000002.png', None]
        """
        if not 0 <= score_thr <= 1:
            raise ValueError(f'score_thr must be in [0, 1], got {score_thr}')
        if batch_size < 1:
            raise ValueError(f'batch_size must be positive, got {batch_size}')
        if classes is None and templates is not None:
            raise ValueError(
                'templates are for the names in classes, of '
                'which there are none'
            )
        start = perf_counter()
        vocabulary = (
            self._vocabulary
            if classes is None
            else self._embed(classes, templates)
        )
        seconds = dict(text=perf_counter() - start, image=0.0, boxes=0.0)
        samples: List[DetDataSample] = []
        sources = expand_folders(images)
        # Of several batches' images some have one size.
        window = 4 * batch_size
        for first in range(0, len(sources), window):
            new = self._predict(
                sources[first : first + window],
                vocabulary,
                score_thr,
                batch_size,
                seconds,
            )
            for sample in new:
                found = sample.pred_instances
                sample.pred_instances = found[found.scores >= score_thr]
                sample.set_metainfo(dict(img_id=len(samples)))
                samples.append(sample)
        return Detections(
            samples, vocabulary.names, self.base_classes, seconds
        )

    def _predict(
        self,
        sources: Sequence[Image],
        vocabulary: ClassEmbeddings,
        score_thr: float,
        batch_size: int,
        seconds: dict,
    ) -> List[DetDataSample]:
        """Detect in some images, and add how long it took to ``seconds``."""
        start = perf_counter()
        images = [self.read(source) for source in sources]
        found: List[Optional[DetDataSample]] = [None] * len(images)
        seconds['image'] += perf_counter() - start
        with self._lock:
            start = perf_counter()
            encoded = self._memory.encode(images, batch_size)
            middle = self._now()
            self._use(vocabulary)
            try:
                sizes = {i: one.input_hw for i, one in enumerate(encoded)}
                with self._least_score(score_thr):
                    for batch in batches(sizes, batch_size):
                        samples = detect(
                            self.model,
                            [encoded[i] for i in batch],
                            [images[i] for i in batch],
                        )
                        for i, sample in zip(batch, samples):
                            found[i] = sample.cpu()
            finally:
                self._use(self._vocabulary)
            seconds['image'] += middle - start
            seconds['boxes'] += self._now() - middle
        return found

    @contextmanager
    def _least_score(self, score_thr: float) -> Iterator[None]:
        """Spare detections that score less their masks."""
        config = self.model.roi_head.test_cfg
        as_trained = config.score_thr
        # CLIPOnBoxes scores its boxes once more, after all of this.
        if not isinstance(self.model, CLIPOnBoxes):
            # The host keeps what scores more than that, not as much.
            below = float(np.nextafter(np.float32(score_thr), np.float32(-1)))
            config.score_thr = max(as_trained, below)
        try:
            yield
        finally:
            config.score_thr = as_trained

    def _now(self) -> float:
        """Return the time when the device has done what it was given."""
        if next(self.model.parameters()).is_cuda:
            torch.cuda.synchronize()
        return perf_counter()
