"""Checkpoints that are whole, and of which there is always one."""
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ovd.artifacts.files import NO_ROOM, atomic_write


class _RemoveLater:
    """A file backend that puts off what it is told to remove."""

    def __init__(self, backend: object) -> None:
        self._backend = backend
        self.removed: List[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self.removed.append(path)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """The host's hook, safe against being killed at any moment.

    A checkpoint and the pointer ``last_checkpoint`` appear under their names
    when they are whole, and an old checkpoint is removed after the one that
    takes its place is there. A full disk leaves the previous one.

    Args:
        kwargs: Of the host's hook.
    """

    def __init__(self, **kwargs) -> None:
        kwargs.setdefault('backend_args', dict(backend='atomic_local'))
        super().__init__(**kwargs)

    def save_now(self, runner: Runner) -> str:
        """Save in the middle of an epoch or interval; return the file."""
        step = runner.iter + 1
        name = f'iter_{step}.pth'
        if self.by_epoch:
            self._save(runner, name, by_epoch=False, meta={})
        else:
            self._save_checkpoint_with_step(
                runner, step, meta=dict(epoch=runner.epoch, iter=step))
        return str(Path(self.out_dir, name))

    def _save_checkpoint_with_step(self, runner: Runner, step: int,
                                   meta: dict) -> None:
        surplus = []
        if self.max_keep_ckpts > 0:
            steps = [s for s in self.keep_ckpt_ids if s != step] + [step]
            surplus = steps[:-self.max_keep_ckpts]
            self.keep_ckpt_ids.clear()
            self.keep_ckpt_ids.extend(steps[-self.max_keep_ckpts:])
            runner.message_hub.update_info('keep_ckpt_ids',
                                           list(self.keep_ckpt_ids))
        self._save(runner, self.filename_tmpl.format(step), self.by_epoch,
                   meta)
        if is_main_process():
            old = [Path(self.out_dir, self.filename_tmpl.format(step))
                   for step in surplus]
            if self.by_epoch and self.max_keep_ckpts > 0:
                old += Path(self.out_dir).glob('iter_*.pth')  # of save_now
            for path in old:
                path.unlink(missing_ok=True)

    def _save(self, runner: Runner, name: str, by_epoch: bool,
              meta: dict) -> None:
        """Save a checkpoint, then point to it.

        Raises:
            OSError: If there is no room for it.
        """
        path = str(Path(self.out_dir, name))
        self.last_ckpt = path
        runner.message_hub.update_info('last_ckpt', path)
        try:
            runner.save_checkpoint(
                self.out_dir,
                name,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=by_epoch,
                backend_args=self.backend_args,
                **self.args)
            if is_main_process():
                with atomic_write(
                        Path(runner.work_dir, 'last_checkpoint'),
                        'w') as file:
                    file.write(path)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            pointer = Path(runner.work_dir, 'last_checkpoint')
            kept = f'{pointer.read_text()} is whole' if pointer.is_file() \
                else 'there is none yet'
            raise OSError(
                error.errno, f'no room for checkpoint {path} '
                f'({error.strerror}); of the previous ones, {kept}. Make '
                'room, then go on with --resume') from error

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        with self._removals_last():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removals_last(self) -> Iterator[None]:
        backend = self.file_backend
        self.file_backend = waiting = _RemoveLater(backend)
        try:
            yield
        finally:
            self.file_backend = backend
        kept = {getattr(self, 'best_ckpt_path', None),
                *getattr(self, 'best_ckpt_path_dict', {}).values()}
        for path in waiting.removed:
            if path not in kept:
                backend.remove(path)
