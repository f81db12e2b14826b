"""A run that is resumed computes what it would have without interruption."""

from itertools import chain, repeat

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import (
    BaseLoop,
    EpochBasedTrainLoop,
    IterBasedTrainLoop,
    Runner,
)

from ovd.datasets.resumable_batch_sampler import ResumableBatchSampler
from ovd.datasets.seeding import ITERATIONS, VALIDATIONS, seed_all


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Seed iterations and validations, and note in checkpoints what was done.

    That is, which batches were seen, and if the validation that may be due
    after them was over (:class:`DueValidationHook`).

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
        # Epochs, or iterations of a loop without epochs, after which
        # validation is over
        self._validated = 0
        self._resumes_before_validation = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Read if validation may be due; older checkpoints don't say."""
        meta = checkpoint.get('meta', {})
        self._resumes_before_validation = (
            runner._resume and meta.get('is_validated') is False
        )

    def before_train(self, runner: Runner) -> None:
        """Spare the host loading all batches that were seen before."""
        loop = runner.train_loop
        sampler = loop.dataloader.batch_sampler
        if isinstance(loop, IterBasedTrainLoop) and getattr(
            sampler, 'num_done', None
        ):
            iterator = loop.dataloader_iterator
            iterator._epoch = sampler.num_done // len(sampler)
            loop.dataloader_iterator = chain(repeat(None, loop.iter), iterator)
        self._validated = count_steps(loop) - self._resumes_before_validation
        # What is saved by a validation that comes first asks for it, too.
        self.before_train_epoch(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Remember the epoch, and the iteration at which it began."""
        sampler = runner.train_dataloader.batch_sampler
        self._epoch = runner.epoch
        # To a loop by iterations all of it is one epoch, whose workers may
        # have passed over what was seen already.
        is_one = isinstance(runner.train_loop, IterBasedTrainLoop)
        self._epoch_start = runner.iter - getattr(
            sampler, 'num_done' if is_one else 'num_to_pass', 0
        )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None
    ) -> None:
        """Seed what the iteration draws by lot."""
        seed_all(ITERATIONS, runner.seed, runner.rank, runner.iter)
        self._validated = count_steps(runner.train_loop)

    def before_val_epoch(self, runner: Runner) -> None:
        """Seed what a validation draws by lot, which may be repeated."""
        if is_training(runner):
            seed_all(VALIDATIONS, runner.seed, runner.rank, runner.iter)

    def after_val_epoch(self, runner: Runner, metrics: object = None) -> None:
        """From now on nothing is due, even to what is saved as the best."""
        if is_training(runner):
            self._validated = count_steps(runner.train_loop)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note how many batches of the epoch were seen, and validation."""
        meta = checkpoint['meta']
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        steps = meta['epoch' if by_epoch else 'iter']
        meta['is_validated'] = steps <= self._validated
        sampler = runner.train_dataloader.batch_sampler
        if isinstance(sampler, ResumableBatchSampler):
            begun = meta['epoch'] == self._epoch  # else it is a whole one
            meta['position'] = sampler.position(
                meta['iter'] - self._epoch_start if begun else 0
            )


def count_steps(loop: BaseLoop) -> int:
    """Return the epochs that are done, or iterations of a loop without."""
    return loop.epoch if isinstance(loop, EpochBasedTrainLoop) else loop.iter


def is_training(runner: Runner) -> bool:
    """Return if a validation is one of a training, not for its own sake."""
    return isinstance(runner._train_loop, BaseLoop)  # else a config, or None
