"""Regions of an embedding store, labelled by an annotation file.

Shapes: M regions, P boxes of one image, G annotated ones, D embedding size.
"""

from typing import Any, Dict, Mapping, NamedTuple, Tuple

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from torch import Tensor
from torchvision.ops import box_iou

from ovd.artifacts.embedding_store import BOX_KINDS, EmbeddingStore
from ovd.artifacts.files import PathLike
from ovd.artifacts.proposals import image_key
from ovd.artifacts.provenance import check_same_source

from .box_selection import annotated_boxes
from .gzsl_split import describe_annotations
from .labelled_regions import LabelledRegions, show_progress

PROPOSAL, GROUND_TRUTH = map(BOX_KINDS.index, ('proposal', 'ground_truth'))
WITH_BOXES = '--cfg-options train_cfg.boxes.ground_truth=True'


class _Image(NamedTuple):
    """What a dataset has of an image: boxes (G, 4) and labels (G,)."""

    key: str
    bboxes: np.ndarray
    labels: np.ndarray


class StoreRegions(LabelledRegions):
    """Proposals and annotated boxes that overlap an annotated box.

    A proposal has the label of the box that it overlaps most. Annotated boxes
    are regions of IoU 1. A crowd is no box. Images without a box, and those
    that could not be read for the store, have no regions.

    Args:
        folder (PathLike): The store.
        dataset (BaseDataset): Of its images.
        min_iou (float): Regions of a smaller IoU are left out.

    Raises:
        FileNotFoundError: If there is no such store.
        ValueError: If it was made without annotated boxes, or from other
            annotations or images.
    """

    def __init__(
        self, folder: PathLike, dataset: BaseDataset, min_iou: float
    ) -> None:
        self.store = EmbeddingStore(folder)
        self._check_store(dataset.ann_file)
        self.clip = self.store.clip
        self.embed_dims = self.store.embed_dims
        images = _read_images(dataset)
        self.store.check_covers(
            {image_id: image.key for image_id, image in images.items()}
        )
        # Ascending, as in the shards
        self._image_ids = np.array(sorted(images), np.int64)
        rows, ious, labels = [], [], []
        for image_id in show_progress(self._image_ids.tolist(), 'label boxes'):
            found = self._label(image_id, images[image_id])
            rows.append(np.flatnonzero(found[0] >= min_iou).astype(np.int32))
            ious.append(found[0][rows[-1]])
            labels.append(found[1][rows[-1]])
        self._offsets = np.cumsum([0] + [len(part) for part in rows])
        self._rows = np.concatenate([np.zeros(0, np.int32), *rows])
        self.ious = np.concatenate([np.zeros(0, np.float32), *ious])
        self.labels = np.concatenate([np.zeros(0, np.int64), *labels])

    @property
    def num_broken(self) -> int:
        """How many images of the dataset could not be read for the store."""
        return int(np.isin(self._image_ids, [*self.store.broken]).sum())

    def _check_store(self, ann_file: str) -> None:
        manifest = self.store.manifest
        if not manifest.settings.get('ground_truth'):
            raise ValueError(
                f'{self.store.folder} was made without the annotated boxes of '
                'its images, and prompts are learned from them, too: make a '
                f'store with {WITH_BOXES} and name it'
            )
        check_same_source(
            describe_annotations(ann_file),
            manifest.annotations,
            f'the annotation file {ann_file}',
            f'the embedding store {self.store.folder}',
        )

    def _label(
        self, image_id: int, image: _Image
    ) -> Tuple[np.ndarray, np.ndarray]:
        """Return the IoUs (P,) and labels (P,) of all boxes of an image."""
        item = self.store.get(image_id)
        ious = np.zeros(len(item['kinds']), np.float32)
        labels = np.full(len(ious), -1)
        if self.store.why_broken(image_id):
            return ious, labels
        of_proposal = item['kinds'] == PROPOSAL
        if len(image.bboxes):
            overlaps, best = box_iou(
                torch.tensor(item['bboxes'][of_proposal]),
                torch.tensor(image.bboxes),
            ).max(dim=1)
            ious[of_proposal] = overlaps.numpy()
            labels[of_proposal] = image.labels[best.numpy()]
        annotated = item['kinds'] == GROUND_TRUTH
        self._check_boxes(image_id, item['bboxes'][annotated], image.bboxes)
        # In their order: two boxes at one place may have two labels.
        ious[annotated], labels[annotated] = 1, image.labels
        return ious, labels

    def _check_boxes(
        self, image_id: int, stored: np.ndarray, bboxes: np.ndarray
    ) -> None:
        """Raise unless a store has the boxes of the dataset, in order."""
        if stored.shape != bboxes.shape or not np.allclose(
            stored, bboxes, atol=0.01
        ):
            raise ValueError(
                f'the {len(stored)} annotated boxes of image {image_id} in '
                f'{self.store.folder} are not the {len(bboxes)} that the '
                'dataset has: the store was made from '
                f'{self.store.manifest.annotations.get("file")}; name that '
                'file, or make the store anew'
            )

    def gather(self, rows: np.ndarray) -> Tensor:
        """Return embeddings, reading shard after shard."""
        found = np.empty((len(rows), self.embed_dims), np.float16)
        splits = np.searchsorted(rows, self._offsets)
        images = np.flatnonzero(np.diff(splits)).tolist()
        for i in show_progress(images, 'read embeddings'):
            part = slice(splits[i], splits[i + 1])
            item = self.store.get(int(self._image_ids[i]))
            found[part] = item['embeddings'][self._rows[rows[part]]]
        return torch.from_numpy(found)


def _read_images(dataset: BaseDataset) -> Dict[int, _Image]:
    """Return the images of a dataset by id, without their polygons."""
    infos = map(dataset.get_data_info, range(len(dataset)))
    return {
        info['img_id']: _Image(
            image_key(info['img_path']), *labelled_boxes(info)
        )
        for info in infos
    }


def labelled_boxes(info: Mapping[str, Any]) -> Tuple[np.ndarray, np.ndarray]:
    """Return boxes (G, 4) and labels (G,) of what the host says of an image.

    They are the boxes that an embedding store has: cut at the edges of the
    image, without crowds and what has no area.
    """
    limits = np.array([info['width'], info['height']] * 2, np.float32)
    bboxes = annotated_boxes(info).clip(0, limits)
    labels = np.array(
        [
            instance['bbox_label']
            for instance in info.get('instances', ())
            if not instance.get('ignore_flag')
        ],
        np.int64,
    )
    has_area = (bboxes[:, 2:] > bboxes[:, :2]).all(axis=1)
    return bboxes[has_area], labels[has_area]
