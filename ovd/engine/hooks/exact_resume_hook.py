"""A run that is resumed computes what it would have without interruption."""
from itertools import chain, repeat

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from ovd.datasets.resumable_batch_sampler import ResumableBatchSampler
from ovd.datasets.seeding import ITERATIONS, seed_all


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Seed each iteration, and note in checkpoints which batches were seen.

    What an iteration draws by lot depends on the seed, the rank and its
    number alone. So no state of a generator has to be kept, and neither
    validation nor the start of workers disturbs it.

    Where to go on is read by :func:`ovd.engine.resuming.prepare_training`,
    before the data loader is built.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._epoch = 0
        self._epoch_start = 0  # in iterations

    def before_train(self, runner: Runner) -> None:
        """Spare the host loading all batches that were seen before."""
        loop = runner.train_loop
        sampler = loop.dataloader.batch_sampler
        if isinstance(loop, IterBasedTrainLoop) and getattr(
                sampler, 'num_done', 0):
            iterator = loop.dataloader_iterator
            iterator._epoch = sampler.num_done // len(sampler)
            loop.dataloader_iterator = chain(
                repeat(None, loop.iter), iterator)

    def before_train_epoch(self, runner: Runner) -> None:
        """Remember the epoch, and the iteration at which it began."""
        sampler = runner.train_dataloader.batch_sampler
        self._epoch = runner.epoch
        # To a loop by iterations all of it is one epoch, whose workers may
        # have passed over what was seen already.
        is_one = isinstance(runner.train_loop, IterBasedTrainLoop)
        self._epoch_start = runner.iter - getattr(
            sampler, 'num_done' if is_one else 'num_to_pass', 0)

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch: object = None) -> None:
        """Seed what the iteration draws by lot."""
        seed_all(ITERATIONS, runner.seed, runner.rank, runner.iter)

    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: dict) -> None:
        """Note how many batches of the epoch were seen."""
        sampler = runner.train_dataloader.batch_sampler
        if isinstance(sampler, ResumableBatchSampler):
            meta = checkpoint['meta']
            begun = meta['epoch'] == self._epoch  # else it is a whole one
            meta['position'] = sampler.position(
                meta['iter'] - self._epoch_start if begun else 0)
