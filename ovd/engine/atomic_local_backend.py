"""A file backend for the host's hooks that never leaves half a file."""

from pathlib import Path
from typing import Union

from mmengine.fileio import LocalBackend, register_backend

from ovd.artifacts.files import atomic_write


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """mmengine's local backend, with writing that is whole or not at all.

    Used by ``CheckpointHook`` through ``backend_args=dict(
    backend='atomic_local')``.
    """

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write bytes to a temporary name, fsync, rename."""
        with atomic_write(filepath) as file:
            file.write(obj)

    def put_text(
        self, obj: str, filepath: Union[str, Path], encoding: str = 'utf-8'
    ) -> None:
        """Write text to a temporary name, fsync, rename."""
        self.put(obj.encode(encoding), filepath)
