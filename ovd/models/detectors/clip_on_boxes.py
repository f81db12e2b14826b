"""CLIP itself names a detector's boxes: slow, and the teacher's ceiling."""

from functools import cached_property
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

import mmcv
from mmdet.models.detectors import MaskRCNN
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, SampleList
from mmdet.utils import InstanceList
from mmengine.structures import InstanceData
from torch import Tensor

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.provenance import check_same_clip
from ovd.clip.image_encoder import embed_boxes
from ovd.models.frozen_teacher import FrozenTeacher


@MODELS.register_module()
class CLIPOnBoxes(FrozenTeacher, MaskRCNN):
    """Crop the boxes of a class-agnostic detector and classify by CLIP.

    "CLIP on cropped regions" (Gu et al., ICLR 2022): the score of a box and a
    class is the detector's objectness times CLIP's probability. The detector
    must detect one class, such as :class:`ViLDEnsembleBBoxHead` with
    ``scoring='objectness'``.

    Args:
        teacher (str): Name or file of the CLIP.
        class_embeddings (str): Class embeddings file, of the same CLIP. One
            that does not exist yet is read when it is first needed.
        temperature (float): Divides the cosine. Defaults to 0.01.
        max_per_img (int): Detections to keep of the boxes times classes.
            Defaults to 100.
        precision (str): CLIP's, see ``load_clip``. Defaults to ``'fp32'``.
        args, kwargs: See :class:`mmdet.models.MaskRCNN`.

    Raises:
        ValueError: If another CLIP made the class embeddings.
    """

    def __init__(
        self,
        *args: Any,
        teacher: str,
        class_embeddings: str,
        temperature: float = 0.01,
        max_per_img: int = 100,
        precision: str = 'fp32',
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.load_teacher(teacher, precision)
        self.class_embeddings_file = class_embeddings
        if Path(class_embeddings).is_file():
            _ = self.source  # refuse that of another CLIP at once
        self.register_buffer('class_embeddings', None, persistent=False)
        self.temperature = temperature
        self.max_per_img = max_per_img

    @property
    def clip(self) -> Dict[str, str]:
        """The CLIP that names the boxes: name and sha256."""
        return self.teacher.identity

    @cached_property
    def source(self) -> ClassEmbeddings:
        """The class embeddings that the classes are taken from."""
        source = ClassEmbeddings.load(self.class_embeddings_file)
        check_same_clip(
            self.clip,
            source.clip,
            f'the teacher {self.teacher.name}',
            f'the class embeddings {self.class_embeddings_file}',
        )
        return source

    def set_vocabulary(
        self,
        names: Sequence[str],
        novel_classes: Sequence[str] = (),
        class_embeddings: Optional[ClassEmbeddings] = None,
    ) -> None:
        """Name boxes by these classes; CLIP makes no difference of novel.

        Raises:
            FileNotFoundError: If the file of the config is still missing.
            ValueError: If a name has no embedding, or another CLIP made them.
        """
        source = class_embeddings or self.source
        check_same_clip(
            self.clip, source.clip, 'the teacher', 'the class embeddings'
        )
        self.class_embeddings = source.select(names).to(self.teacher.device)
        self.source = source

    def predict(
        self,
        batch_inputs: Tensor,
        batch_data_samples: SampleList,
        rescale: bool = True,
    ) -> SampleList:
        """Detect, then name; boxes are in pixels of the original image.

        Raises:
            ValueError: If boxes are not wanted in that frame, or an image was
                given as an array: its crops are read from its file.
        """
        if not rescale:
            raise ValueError(
                'CLIPOnBoxes crops the original image: it needs rescale=True'
            )
        return super().predict(batch_inputs, batch_data_samples, rescale)

    def add_pred_to_datasample(
        self, data_samples: SampleList, results_list: InstanceList
    ) -> SampleList:
        """Name the boxes that the second stage found.

        Raises:
            ValueError: If an image was given as an array.
        """
        samples = super().add_pred_to_datasample(data_samples, results_list)
        for sample in samples:
            sample.pred_instances = self._name(sample)
        return samples

    def _name(self, sample: DetDataSample) -> InstanceData:
        """Give the best (box, class) pairs of one image."""
        boxes = sample.pred_instances
        if sample.img_path is None:
            raise ValueError(
                'CLIPOnBoxes crops the original image: it needs '
                'image files, not arrays'
            )
        image = mmcv.imread(sample.img_path, channel_order='rgb')
        embeddings = embed_boxes(
            self.teacher, image, boxes.bboxes.cpu().numpy()
        )
        cosines = (
            embeddings.to(self.class_embeddings) @ self.class_embeddings.T
        )
        scores = (cosines / self.temperature).softmax(dim=-1).to(
            boxes.scores
        ) * boxes.scores[:, None]
        most = min(self.max_per_img, scores.numel())
        scores, flat = scores.flatten().topk(most)
        named = boxes[flat // cosines.shape[1]]
        named.scores = scores
        named.labels = flat % cosines.shape[1]
        return named
