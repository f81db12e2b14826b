"""Give training the proposals and CLIP embeddings of an image."""
from typing import Optional

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes

from ovd.artifacts.embedding_store import EmbeddingStore


@TRANSFORMS.register_module()
class LoadProposalEmbeddings(BaseTransform):
    """Load proposals and their embeddings from a store by the image's id.

    Wrap the geometric transforms that follow in the host's
    ``ProposalBroadcaster``: it moves the boxes together with the image.
    :class:`PackDistillInputs` takes both out at the end.

    Required key: ``img_id``. Added keys, P proposals:

    - proposals (HorizontalBoxes): (P, 4) float32 xyxy, pixels of the original
      image, best score first
    - proposal_embeddings (ndarray): (P, D) float16

    Args:
        store (str): Folder of the store. It is opened when first used, so a
            config builds before there is one.
        num_max (int, optional): Keep the P of the highest score; None keeps
            all. Defaults to None.
    """

    def __init__(self, store: str, num_max: Optional[int] = None) -> None:
        if num_max is not None and num_max < 1:
            raise ValueError(
                f'num_max must be positive or None, got {num_max}')
        self.store_path = store
        self.num_max = num_max
        self._store: Optional[EmbeddingStore] = None

    @property
    def store(self) -> EmbeddingStore:
        """The open store.

        Raises:
            FileNotFoundError: If it does not exist.
            ValueError: If it is incomplete.
        """
        if self._store is None:
            self._store = EmbeddingStore(self.store_path)
        return self._store

    def transform(self, results: dict) -> dict:
        """Add the boxes and embeddings of ``results['img_id']``."""
        item = self.store.get(results['img_id'])
        order = np.argsort(-item['scores'], kind='stable')[:self.num_max]
        results['proposals'] = HorizontalBoxes(item['bboxes'][order])
        results['proposal_embeddings'] = item['embeddings'][order]
        return results

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(store={self.store_path!r}, '
                f'num_max={self.num_max})')
