"""Fill a store of proposal embeddings: plan, share out, embed, write."""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Dict, Iterator, List, Optional, Tuple

from mmdet.registry import DATASETS, LOOPS
from mmengine.dist import broadcast_object_list
from mmengine.runner import BaseLoop, Runner
from torch import Tensor
from tqdm import tqdm

from ovd.artifacts.embedding_store import MANIFEST, EmbeddingStoreWriter
from ovd.artifacts.files import NO_ROOM, sha256_file
from ovd.artifacts.proposals import Proposals, load_proposals
from ovd.artifacts.provenance import check_same_source
from ovd.artifacts.store_plan import StorePlan
from ovd.clip.allocator import keep_freed_memory
from ovd.clip.encoder_speed import EncoderSpeed
from ovd.datasets.box_selection import BoxSelection
from ovd.datasets.crop_tasks import CropDataset, CropTask
from ovd.datasets.gzsl_split import describe_annotations

from .command_line import command_to_repeat
from .extraction_report import Estimate, announce, report
from .extraction_tasks import ImageBoxes, Item, build_loader, embed_shard
from .launch import leave_process_group
from .stop_signals import StopSignals

# Images that are embedded to try everything
NUM_TRIED = 2
# Of so many images one at least can be embedded, if nothing else is wrong
TOO_MANY_BROKEN = 20


@LOOPS.register_module()
class ExtractionLoop(BaseLoop):
    """Embed the boxes of every image of a dataset.

    The shards that are missing are shared out among the processes; each is
    computed by itself, CLIP's batches included, and written when it is whole.
    So a run may be killed at any time, and go on with any number of
    processes, without a change in the result.

    Args:
        runner (Runner): Has the model, a :class:`ProposalFeatureExtractor`.
        dataloader (dict): ``dataset``, in test mode, whose pipeline gives
            ``img`` (H, W, 3) uint8 BGR in its original size; the rest is
            passed to :class:`torch.utils.data.DataLoader`; ``num_workers``
            None is what :func:`~.extraction_tasks.count_workers` says.
        store (str): Folder to fill.
        proposals (str, optional): Proposals file; None embeds none.
        boxes (dict, optional): Options of
            :class:`~ovd.datasets.box_selection.BoxSelection`.
        images_per_shard (int): Defaults to 100.
        dtype (str): Of stored embeddings: ``'float16'`` or ``'int8'`` with a
            scale for each. Defaults to ``'float16'``.
        skip_broken (bool): Record images that can't be read, have no entry in
            the proposals, or boxes outside, and go on. Defaults to False.
        dry_run (bool): Say what is to be done, embed the first two images and
            write nothing. Defaults to False.
        patience (float): Seconds to wait for a shard of another process.
            Defaults to 3600.

    Raises:
        FileNotFoundError: If the proposals do not exist.
        ValueError: If the proposals are for other images, or an option is
            none of those there are.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: Dict[str, Any],
        store: str,
        proposals: Optional[str] = None,
        boxes: Optional[Dict[str, Any]] = None,
        images_per_shard: int = 100,
        dtype: str = 'float16',
        skip_broken: bool = False,
        dry_run: bool = False,
        patience: float = 3600.0,
    ) -> None:
        # Which images to load is known when the shards are shared out.
        super().__init__(runner, dataloader=None)
        keep_freed_memory()
        self.loader_cfg = dict(dataloader)
        self.dataset = DATASETS.build(self.loader_cfg.pop('dataset'))
        self.store = store
        if not isinstance(skip_broken, bool):
            raise ValueError(
                f'skip_broken must be True or False, got {skip_broken!r}'
            )
        self.skip_broken = skip_broken
        self.dry_run = dry_run
        self.patience = patience
        self.selection = BoxSelection.from_options(
            boxes or {}, proposals is not None
        )
        found = None if proposals is None else load_proposals(proposals)
        self.images = ImageBoxes(self.dataset, found, self.selection)
        self.annotations = describe_annotations(self.dataset.ann_file)
        if found is not None:
            check_same_source(
                self.annotations,
                found.provenance.get('annotations', {}),
                'the dataset',
                f'the proposals file {proposals}',
            )
            if not skip_broken:
                self._check_covers(found)
        self.proposals = proposals
        self.images_per_shard = images_per_shard
        self.dtype = dtype
        self.seconds = self.seconds_writing = 0.0
        self._num_seen, self._any_sound = 0, False

    def _check_covers(self, found: Proposals) -> None:
        try:
            found.check_covers(
                self.images.keys.values(), self.dataset.ann_file
            )
        except ValueError as error:
            raise ValueError(
                f'{error}; images without proposals can be '
                'skipped with --skip-broken'
            ) from error

    def run(self) -> None:
        """Compute the missing shards; return when none is missing."""
        speed = self._settle()
        if self.dry_run:
            self._try(speed)
            return
        writer, missing = self._open_store()
        if speed is not None:
            announce(self.runner, self.images, writer, missing, speed)
        mine = missing[self.runner.rank :: self.runner.world_size]
        start = time.time()
        with (
            StopSignals('shard') as signals,
            tqdm(
                desc='embed proposals',
                total=len(self.plan.image_ids),
                initial=self._count_done(missing),
                unit='img',
                mininterval=1,
                disable=self.runner.rank != 0,
            ) as progress,
        ):
            # Workers that start now don't end by a signal.
            results = iter(self._build_loader(mine))
            for shard in mine:
                items, broken = self._embed_shard(shard, results, progress)
                self._write(writer, shard, items, broken)
                self._show(progress, writer)
                if signals.told:
                    self._end(writer)
            self._await_others(writer, missing, signals, progress)
        self.seconds = time.time() - start
        if self.runner.rank == 0:
            writer.remove_leftovers()
            report(
                self.runner,
                writer,
                missing,
                self.seconds,
                self.seconds_writing,
            )

    def _await_others(
        self,
        writer: EmbeddingStoreWriter,
        shares: List[int],
        signals: StopSignals,
        progress: tqdm,
    ) -> None:
        """Return when no shard is missing.

        Not a barrier, which would give up after half an hour of work.

        Raises:
            TimeoutError: If none of the others came within ``patience``.
        """
        last, since = len(shares) + 1, time.monotonic()
        while missing := writer.missing_shards():
            if len(missing) < last:
                last, since = len(missing), time.monotonic()
            if signals.told:
                self._end(writer)
            if time.monotonic() - since > self.patience:
                size = self.runner.world_size
                ranks = sorted({shares.index(n) % size for n in missing})
                raise TimeoutError(
                    f'no shard was made within {self.patience:g} s, and '
                    f'{len(missing)} are missing, of '
                    f'{", ".join(f"rank {rank}" for rank in ranks)}: it may '
                    'hang; the same command goes on. If a shard may take '
                    'longer, raise train_cfg.patience'
                )
            time.sleep(0.2)
            self._show(progress, writer)

    def _end(self, writer: EmbeddingStoreWriter) -> None:
        """End as told, with how to go on."""
        self.runner.logger.warning(
            f'ended by a signal; {len(writer.missing_shards())} of '
            f'{self.plan.num_shards} shards are missing\ngo on with:\n'
            f'  {command_to_repeat(self.runner.cfg)}'
        )
        leave_process_group()
        sys.exit(0)

    def _try(self, speed: Optional[EncoderSpeed]) -> None:
        """Say what is to be done and embed the first images."""
        with TemporaryDirectory() as empty:
            begun = (Path(self.store) / MANIFEST).is_file()
            writer = EmbeddingStoreWriter(
                self.store if begun else empty, self.plan
            )
            missing = writer.missing_shards()
        if speed is not None:
            announce(
                self.runner, self.images, writer, missing, speed, self.store
            )
        image_ids = [*self.images.keys][:NUM_TRIED]
        tasks = self.images.tasks([image_ids], self.runner.model.crop_scales)
        for task, _ in embed_shard(
            self.runner.model,
            iter(
                build_loader(
                    self.images, self.runner.model, tasks, self.loader_cfg
                )
            ),
        ):
            if task.broken:
                self._refuse(task)

    def _settle(self) -> Optional[EncoderSpeed]:
        """Make all processes use what the first takes for the fastest.

        An earlier run's are kept, so that all of a store is made alike. The
        first process gets its speed.
        """
        model = self.runner.model
        settled: List[Any] = [None, None, None]
        speed = None
        if self.runner.rank == 0:
            manifest = Path(self.store) / MANIFEST
            recorded = (
                StorePlan.load(manifest).settings
                if manifest.is_file()
                else None
            )
            work = Estimate.of(
                self.images, [*self.images.keys], model.crop_scales
            )
            speed = model.settle(
                recorded,
                self._first_crops(),
                work.num_crops / self.runner.world_size,
            )
            settled = [model.precision, model.batch_size, model.compiled]
        broadcast_object_list(settled)
        model.use(*settled)
        self.plan = self._make_plan()
        return speed

    def _first_crops(self) -> Optional[Tensor]:
        """Return real crops to measure with, if there are any soon."""
        model = self.runner.model
        crops = CropDataset(
            self.dataset, model.teacher.image_size, model.crop_mode
        )
        tasks = self.images.tasks(
            [[*self.images.index][:4]], model.crop_scales
        )
        return next(
            (
                found
                for _, found in map(crops.__getitem__, tasks)
                if len(found)
            ),
            None,
        )

    def _make_plan(self) -> StorePlan:
        return StorePlan(
            clip=self.runner.model.teacher.identity,
            proposals=None
            if self.proposals is None
            else dict(file=self.proposals, sha256=sha256_file(self.proposals)),
            annotations=self.annotations,
            settings=dict(
                self.runner.model.settings,
                dtype=self.dtype,
                **self.selection.settings(self.proposals is not None),
            ),
            images_per_shard=self.images_per_shard,
            image_ids=list(self.images.keys),
            image_keys=list(self.images.keys.values()),
            command=command_to_repeat(self.runner.cfg),
        )

    def _open_store(self) -> Tuple[EmbeddingStoreWriter, List[int]]:
        """Return the writer and the missing shards, one list for all ranks.

        A rank that looked later could find a shard of a faster one done, and
        share out differently.
        """
        missing: List[List[int]] = [[]]
        if self.runner.rank == 0:
            writer = EmbeddingStoreWriter(self.store, self.plan)
            missing = [writer.missing_shards()]
        broadcast_object_list(missing)
        return EmbeddingStoreWriter(self.store, self.plan), missing[0]

    def _build_loader(self, shards: List[int]) -> Any:
        return build_loader(
            self.images,
            self.runner.model,
            self.images.tasks(
                map(self.plan.shard_image_ids, shards),
                self.runner.model.crop_scales,
            ),
            self.loader_cfg,
        )

    def _embed_shard(
        self,
        shard: int,
        results: Iterator[Tuple[CropTask, Tensor]],
        progress: tqdm,
    ) -> Tuple[List[Item], Dict[int, str]]:
        """Return the items of the images of a shard, and which are broken."""
        items: List[Item] = []
        broken: Dict[int, str] = {}
        for task, item in embed_shard(self.runner.model, results):
            if task.broken:
                self._refuse(task)
                broken[task.image_id] = task.broken
            items.append(item)
            progress.update()
        self._num_seen += len(items)
        self._any_sound |= len(broken) < len(items)
        if not self._any_sound and self._num_seen >= min(
            TOO_MANY_BROKEN, len(self.plan.image_ids)
        ):
            raise ValueError(
                f'none of the first {self._num_seen} images could be '
                'embedded, so this is no matter of broken images: look at the '
                f'dataset and the proposals of the config; {task.broken}'
            )
        return items, broken

    def _write(
        self,
        writer: EmbeddingStoreWriter,
        shard: int,
        items: List[Item],
        broken: Dict[int, str],
    ) -> None:
        start = time.time()
        try:
            writer.write_shard(shard, items, broken)
        except OSError as error:
            if error.errno in NO_ROOM:
                self.runner.logger.error(
                    f'the disk of {self.store} is full; the shards that are '
                    'done are kept: free some space and run the same again'
                )
            raise
        self.seconds_writing += time.time() - start

    def _refuse(self, task: CropTask) -> None:
        """Name a broken image; raise unless they are to be skipped."""
        key = self.images.keys[task.image_id]
        what = (
            f'{key} (id {task.image_id}) of {self.dataset.ann_file} '
            f"can't be embedded: {task.broken}"
        )
        if not self.skip_broken:
            raise ValueError(
                f'{what}\nmend it, or skip and record such images with '
                '--skip-broken; the shards that are done are kept'
            )
        self.runner.logger.warning(f'{what}; recorded and skipped')

    def _count_done(self, missing: List[int]) -> int:
        """Return how many images are in shards that exist."""
        return len(self.plan.image_ids) - sum(
            len(self.plan.shard_image_ids(shard)) for shard in missing
        )

    def _show(self, progress: tqdm, writer: EmbeddingStoreWriter) -> None:
        """Bring the progress line up to the shards of all processes."""
        progress.update(self._count_done(writer.missing_shards()) - progress.n)
