"""Give training the proposals and CLIP embeddings of an image."""

from typing import Optional, Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes

from ovd.artifacts.embedding_store import BOX_KINDS, EmbeddingStore
from ovd.suggest import check_choice

from .original_frame import check_original_frame


@TRANSFORMS.register_module()
class LoadProposalEmbeddings(BaseTransform):
    """Load proposals and their embeddings from a store by the image's id.

    Wrap the geometric transforms that follow in the host's
    ``ProposalBroadcaster``: it moves the boxes together with the image.
    :class:`PackDistillInputs` takes both out at the end. An image that the
    store records as broken has no boxes.

    Required key: ``img_id``. Added keys, P proposals:

    - proposals (HorizontalBoxes): (P, 4) float32 xyxy, pixels of the original
      image, best score first
    - proposal_embeddings (ndarray): (P, D) float16

    Args:
        store (str): Folder of the store. It is opened when first used, so a
            config builds before there is one.
        num_max (int, optional): Keep the P of the highest score; None keeps
            all. Defaults to None.
        kinds (Sequence[str]): Which boxes of the store, of `BOX_KINDS`.
            Defaults to proposals alone.

    Raises:
        ValueError: If ``num_max`` is not positive, or there is no such kind.
    """

    def __init__(
        self,
        store: str,
        num_max: Optional[int] = None,
        kinds: Sequence[str] = ('proposal',),
    ) -> None:
        if num_max is not None and num_max < 1:
            raise ValueError(
                f'num_max must be positive or None, got {num_max}'
            )
        if isinstance(kinds, str) or not kinds:
            raise ValueError(
                f'kinds must be a list of {", ".join(BOX_KINDS)}, '
                f'got {kinds!r}'
            )
        for kind in kinds:
            check_choice(kind, BOX_KINDS, 'a kind of boxes')
        self.store_path = store
        self.num_max = num_max
        self.kinds = tuple(kinds)
        self._store: Optional[EmbeddingStore] = None

    @property
    def store(self) -> EmbeddingStore:
        """The open store.

        Raises:
            FileNotFoundError: If it does not exist.
            ValueError: If it is incomplete, or was made without boxes of one
                of the kinds.
        """
        if self._store is None:
            store = EmbeddingStore(self.store_path)
            self._check_kinds(store)
            self._store = store
        return self._store

    def _check_kinds(self, store: EmbeddingStore) -> None:
        settings = store.manifest.settings
        made_with = (
            store.manifest.proposals,
            settings.get('ground_truth'),
            settings.get('jitter'),
            settings.get('whole_image'),
        )
        there = [kind for kind, has in zip(BOX_KINDS, made_with) if has]
        for kind in self.kinds:
            if kind not in there:
                raise ValueError(
                    f'{store.folder} was made without boxes of the kind '
                    f'"{kind}", it has: {", ".join(there)}; name others as '
                    'kinds of LoadProposalEmbeddings, or make a store with '
                    'them'
                )

    def transform(self, results: dict) -> dict:
        """Add the boxes and embeddings of ``results['img_id']``.

        Raises:
            KeyError: If the store does not have the image.
            ValueError: If the image has been resized or flipped already.
        """
        check_original_frame(results, type(self).__name__)
        item = self.store.get(results['img_id'])
        wanted = [BOX_KINDS.index(kind) for kind in self.kinds]
        rows = np.flatnonzero(np.isin(item['kinds'], wanted))
        best = np.argsort(-item['scores'][rows], kind='stable')[: self.num_max]
        # Arrays of rows are copies: the store's own are read-only.
        results['proposals'] = HorizontalBoxes(item['bboxes'][rows[best]])
        results['proposal_embeddings'] = item['embeddings'][rows[best]]
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(store={self.store_path!r}, '
            f'num_max={self.num_max}, kinds={self.kinds})'
        )
