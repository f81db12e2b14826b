"""Load an image, or say which file it is that can't be loaded."""

from typing import Any, Dict, Optional

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmdet.registry import TRANSFORMS
from mmengine.fileio import BaseStorageBackend, get, register_backend

from ovd.datasets.broken_images import (
    UNREADABLE,
    broken,
    describe_error,
    is_cut_off,
)


@register_backend('whole_image')
class WholeImageBackend(BaseStorageBackend):
    """Read images by another of the host's backends, and look at their end.

    So the bytes that are decoded are those that are checked, read once.

    Args:
        of (dict, optional): ``backend_args`` of the other one; None goes by
            the path. Defaults to None.
    """

    def __init__(self, of: Optional[Dict[str, Any]] = None) -> None:
        self.of = of

    def get(self, filepath: str) -> bytes:
        """Return the content of a file.

        Raises:
            BrokenImageError: If it lacks its end.
        """
        content = get(filepath, backend_args=self.of)
        if is_cut_off(content):
            raise broken(filepath, 'it is cut off, its end is missing')
        return content

    def get_text(self, filepath: str) -> str:
        """Images have no text."""
        raise ValueError(f'{filepath} is read as an image, which has no text')


@TRANSFORMS.register_module()
class LoadWholeImage(LoadImageFromFile):
    """The host's loader, whose errors name the file.

    It takes the place of the host's in every job
    (:func:`ovd.engine.broken_images.watch_images`).

    Required key: ``img_path``; ``height`` and ``width`` where ``blank`` is
    True, which stands for a broken image: it is all black then.
    """

    backend_args: Optional[Dict[str, Any]]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.file_client_args is None:
            self.backend_args = dict(
                backend='whole_image', of=self.backend_args
            )

    def transform(self, results: dict) -> Optional[dict]:
        """Add ``img``, ``img_shape`` and ``ori_shape``.

        Raises:
            BrokenImageError: If the file can't be read or decoded, or is cut
                off.
        """
        if results.get('blank'):
            size_hw = results['height'], results['width']
            return dict(
                results,
                img=np.zeros(
                    (*size_hw, 3), np.float32 if self.to_float32 else np.uint8
                ),
                img_shape=size_hw,
                ori_shape=size_hw,
            )
        try:
            return super().transform(results)
        except UNREADABLE as error:
            raise broken(results['img_path'], describe_error(error)) from error
