"""Words and images in, detections out."""
import warnings
from pathlib import Path
from typing import List, Optional, Sequence, Union

import numpy as np
import torch
from mmdet.apis import inference_detector, init_detector
from mmdet.structures import DetDataSample

from ovd.artifacts.class_embeddings import ClassEmbeddings, check_class_names
from ovd.artifacts.files import require_file
from ovd.artifacts.provenance import check_same_clip
from ovd.artifacts.seen_classes import read_clip
from ovd.clip.loading import load_clip
from ovd.clip.prompt_templates import TEMPLATE_SETS
from ovd.clip.text_encoder import embed_class_names
from ovd.spelling import canonical_spelling

Image = Union[str, Path, np.ndarray]


class OpenVocabularyDetector:
    """A trained detector whose vocabulary is an argument.

    It starts with the names of the class embeddings in its config.

    Args:
        config (str): Config file of a detector with ``set_vocabulary``, such
            as the ones under ``configs/miniature``.
        checkpoint (str): Its checkpoint.
        device (str): ``'auto'`` takes a GPU where there is one. Defaults to
            ``'auto'``.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the model of the config has no vocabulary to set, or
            class embeddings of another CLIP than the checkpoint's.
    """

    def __init__(self,
                 config: Union[str, Path],
                 checkpoint: Union[str, Path],
                 device: str = 'auto') -> None:
        if device == 'auto':
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        # With a palette given, the host leaves the test dataset alone.
        self.model = init_detector(
            str(require_file(config, 'config')),
            str(require_file(checkpoint, 'checkpoint')),
            palette='random',
            device=device)
        self._heads = [
            m for m in self.model.modules() if hasattr(m, 'set_vocabulary')
        ]
        if not self._heads:
            raise ValueError(
                f'{config} describes a {type(self.model).__name__} without a '
                'vocabulary; use a config with a ViLD box head')
        trained_with = read_clip(checkpoint)
        if trained_with is not None:
            check_same_clip(trained_with, self._heads[0].clip,
                            f'the detector {checkpoint}',
                            'the class embeddings of its config')
        if 'base_classes' not in self.model.dataset_meta:
            warnings.warn(
                f'{checkpoint} does not say which classes had boxes in its '
                'training: all names are taken for novel ones, which an '
                'ensemble scores in another way; set base_classes if you '
                'know them', stacklevel=2)
        self.classes: List[str] = []
        self._clip = None
        self.set_classes(self._heads[0].source)

    @property
    def base_classes(self) -> Sequence[str]:
        """The names that had boxes in training; others are novel."""
        return self.model.dataset_meta.get('base_classes', ())

    @base_classes.setter
    def base_classes(self, names: Sequence[str]) -> None:
        self.model.dataset_meta = dict(
            self.model.dataset_meta, base_classes=tuple(names))
        self.set_classes(self._vocabulary)

    def set_classes(self,
                    names: Union[Sequence[str], ClassEmbeddings],
                    templates: Optional[str] = None) -> None:
        """Detect these classes from now on; any words will do.

        Args:
            names (Sequence[str] | ClassEmbeddings): Class names, or class
                embeddings of the same CLIP.
            templates (str, optional): Set of prompt templates for the names.
                Defaults to the one that the detector was trained with.

        Raises:
            ValueError: If there are no names, a name is empty or stands
                there twice, another CLIP made the embeddings, or it is not
                known which sentences the detector was trained with.
        """
        if not isinstance(names, ClassEmbeddings):
            check_class_names(names)
            names = [name.strip() for name in names]
            if not names:
                raise ValueError('expected at least one name, got none')
            names = self._embed(names, templates)
        base = set(map(canonical_spelling, self.base_classes))
        novel = {name for name in names.names
                 if canonical_spelling(name) not in base}
        self._vocabulary = names
        for head in self._heads:
            head.set_vocabulary(names.names, novel, names)
        self.classes = list(names.names)
        self.model.dataset_meta = dict(
            self.model.dataset_meta, classes=tuple(names.names))

    def _embed(self, names: List[str],
               templates: Optional[str]) -> ClassEmbeddings:
        """Encode names with the CLIP that the detector was trained with."""
        trained = self._heads[0].source
        templates = templates or trained.templates
        if templates == 'converted':
            raise ValueError(
                'the class embeddings that the detector was trained with come '
                'from another project, which does not say in which sentences '
                'it put the names: say it with templates=, such as '
                f'{", ".join(TEMPLATE_SETS)}')
        if self._clip is None:
            clip = load_clip(trained.clip['name'])
            check_same_clip(clip.identity, trained.clip,
                            f'the CLIP found as {clip.name}',
                            'the class embeddings of the detector')
            self._clip = clip
        contexts = trained.contexts if templates == 'learned' else None
        return ClassEmbeddings(
            names=names,
            embeddings=embed_class_names(
                self._clip, names, templates, contexts=contexts),
            clip=self._clip.identity,
            templates=templates,
            contexts=contexts)

    def predict(self,
                images: Union[Image, Sequence[Image]],
                score_thr: float = 0.0) -> List[DetDataSample]:
        """Detect the classes of :meth:`set_classes`.

        Args:
            images (Image | Sequence[Image]): Files, or BGR uint8 arrays
                (H, W, 3).
            score_thr (float): Leave out what scores lower. Defaults to 0.

        Returns:
            List[DetDataSample]: One per image; ``pred_instances`` holds
            ``bboxes`` (M, 4) xyxy in pixels of that image, ``scores`` (M,),
            ``labels`` (M,), which index :attr:`classes`, and ``masks``.

        Raises:
            FileNotFoundError: If an image is missing.
        """
        if isinstance(images, (str, Path, np.ndarray)):
            images = [images]
        images = [
            image if isinstance(image, np.ndarray) else str(
                require_file(image, 'image')) for image in images
        ]
        # One by one: the host takes either files or arrays in a batch.
        samples = [inference_detector(self.model, image) for image in images]
        for sample in samples:
            scores = sample.pred_instances.scores
            sample.pred_instances = sample.pred_instances[scores >= score_thr]
        return samples
