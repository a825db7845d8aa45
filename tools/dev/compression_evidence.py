r"""Train a config, compress it by SI, by magnitude and at random to the same cost, and compare.

Writes NAME.json: cost and test metrics of the original and of each compressed model, without
retraining and after some more training, the index of every block, the plan, command, versions,
hardware and seed. Magnitude and random selection stand beside the separation index twice: with the
cut and the widths that the index decided, so that only the choice of channels differs, and on their
own, removing the same share of every layer to the same FLOPs. A classifier's new fully connected
part is learned for each of them.

Examples:
  python tools/dev/compression_evidence.py \
      configs/compression/vgg16-w25_1xb64-8e_cifar10-5k_reduced.py --max-samples 500
  python tools/dev/compression_evidence.py CONFIG --checkpoint work_dirs/vgg/epoch_200.pth
"""

import argparse
import copy
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

import mmlayerwise  # noqa: F401  (supplies the operators before a toolbox is imported)
from mmlayerwise.compression.apply import apply_plan
from mmlayerwise.compression.comparison import reselect
from mmlayerwise.compression.head_fit import fit_head
from mmlayerwise.compression.head_search import HeadSearch
from mmlayerwise.compression.plan import CompressionPlan
from mmlayerwise.compression.settings import PlannerSettings
from mmlayerwise.compression.watching import Schedule
from mmlayerwise.engine import compressed_files as files
from mmlayerwise.engine.analysis import sampler_options
from mmlayerwise.engine.compression import CompressionOptions, SmallerModel, plan_and_carry_out
from mmlayerwise.engine.launch import add_common_arguments, build_runner, load_config
from mmlayerwise.engine.planning_data import PlanningBatches, training_data
from mmlayerwise.engine.separation import InferenceForward
from mmlayerwise.engine.testing import load_checkpoint_from
from mmlayerwise.separation.layers import Trace
from mmlayerwise.separation.taps import undisturbed
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError, report_errors
from mmlayerwise.utils.files import write_atomically


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('--checkpoint', help='trained weights; without, the config is trained')
    parser.add_argument('--budget', type=float, help='share of the FLOPs that may stay')
    parser.add_argument(
        '--samples',
        nargs='+',
        default=['auto'],
        metavar=('TYPE', 'KEY=VALUE'),
        help='what is compared, as for tools/compress.py (default: auto)',
    )
    parser.add_argument('--max-samples', type=int, default=2000, help='(default: %(default)s)')
    parser.add_argument('--head-samples', type=int, default=10000, help='(default: %(default)s)')
    parser.add_argument(
        '--retrain',
        type=float,
        default=0.2,
        metavar='SHARE',
        help="of the config's epochs or iterations, for the figures with retraining; 0 leaves them "
        'out (default: %(default)s)',
    )
    parser.add_argument('--seed', type=int, default=0, help='(default: %(default)s)')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('results/compression'),
        metavar='DIR',
        help='(default: %(default)s)',
    )
    add_common_arguments(parser)
    return parser.parse_args(argv)


class Evidence:
    """One config with its trained model.

    Args:
        args: The command line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.samples = sampler_options(args.samples)
        self.cfg = load_config(args)
        self.cfg.randomness = dict(seed=args.seed)
        self.name = Path(args.config).stem
        self.seconds: dict[str, float] = {}
        self.checkpoint = args.checkpoint or self._train()

    def run(self) -> dict[str, Any]:
        """Compress by each criterion and judge."""
        cfg = copy.deepcopy(self.cfg)
        load_checkpoint_from(cfg, self.checkpoint)
        runner = self._runner(cfg, 'original', ('train', 'test'))
        runner.load_or_resume()
        model = runner.model
        metrics = _numbers(runner.test())
        found = self._timed('planning', lambda: self._compress(model, 'si', self.args.budget))
        plan, savings = found.planned.plan, found.planned.plan.savings
        if plan.empty:
            raise UserError('By the index nothing can go without loss: give a --budget')
        results = {'original': {'cost': vars(savings.before), 'test': metrics}}
        results['si'] = self._judge('si', found.model, plan, found.input_size)
        for criterion in ('magnitude', 'random'):
            chosen, small = self._reselected(model, found, criterion)
            results[criterion] = self._judge(criterion, small, chosen, found.input_size)
        for criterion in ('magnitude', 'random'):
            alone = self._compress(model, criterion, savings.kept('flops'))
            name = f'{criterion}_uniform'
            results[name] = self._judge(name, alone.model, alone.planned.plan, alone.input_size)
        return {
            'config': self.args.config,
            'environment': describe_environment(),
            'seed': self.args.seed,
            'settings': {
                key: getattr(self.args, key)
                for key in ('budget', 'samples', 'max_samples', 'head_samples', 'retrain')
            },
            'seconds': self.seconds,
            'results': results,
            'index': {
                'original': [
                    {'block': one.name, 'index': one.index, 'chance': one.agreement.chance}
                    for one in found.planned.blocks
                ],
                'compressed': [
                    {'block': name, 'index': one.index} for name, one in found.blocks_after
                ],
            },
            'plan': plan.to_dict(),
        }

    def _train(self) -> str:
        runner = self._runner(copy.deepcopy(self.cfg), 'training', ('train', 'val'))
        self._timed('training', runner.train)
        return runner.message_hub.get_info('last_ckpt')

    def _compress(self, model: nn.Module, criterion: str, budget: float | None) -> SmallerModel:
        settings = PlannerSettings(criterion, budget, seed=self.args.seed)
        options = CompressionOptions(
            samples=self.samples,
            max_samples=self.args.max_samples,
            head_samples=self.args.head_samples,
        )
        return plan_and_carry_out(self.cfg, model, settings, options)

    def _reselected(
        self, model: nn.Module, found: SmallerModel, criterion: str
    ) -> tuple[CompressionPlan, nn.Module]:
        size, seed = found.input_size, self.args.seed
        batches = PlanningBatches(
            training_data(self.cfg, seed=seed), model, self.samples, self.args.head_samples, seed
        )
        forward = InferenceForward()
        with undisturbed(model, seed):
            first = next(iter(batches))
            forward.settle(model, first.inputs)
            trace = Trace(model, lambda: forward(model, first.inputs))
        plan = reselect(found.planned.plan, model, criterion, Schedule(trace).first, size, seed)
        if found.head is None:
            small = copy.deepcopy(model)
            apply_plan(small, plan, size)
            return plan, small
        pool = found.planned.plan.head['pool']
        width = found.head.chosen.hidden
        small, _ = fit_head(model, plan, batches, forward, HeadSearch(widths=(width,)), pool, size)
        return plan, small

    def _judge(
        self, name: str, small: nn.Module, plan: CompressionPlan, size: tuple[int, int]
    ) -> dict[str, Any]:
        """Test a compressed model as it is, and after more training."""
        folder = Path(self.cfg.work_dir) / name
        folder.mkdir(parents=True, exist_ok=True)
        files.write_weights(small, {}, folder / files.WEIGHTS)
        files.write_config(folder / files.CONFIG, self.cfg, self.args.config, [plan], size)
        cfg = Config.fromfile(folder / files.CONFIG)
        cfg.work_dir, cfg.launcher, cfg.randomness = str(folder), 'none', self.cfg.randomness
        report = apply_plan(self._fresh(), plan, size)
        metrics = _numbers(self._runner(copy.deepcopy(cfg), f'{name}_test', ('test',)).test())
        result = {'cost': vars(report.after), 'test': metrics}
        if self.args.retrain:
            result['test_after_retraining'] = self._retrained(cfg, name)
        return result

    def _retrained(self, cfg: Config, name: str) -> dict[str, float]:
        for key in ('max_epochs', 'max_iters'):
            if key in cfg.train_cfg:
                total = max(1, round(self.args.retrain * cfg.train_cfg[key]))
                cfg.train_cfg[key] = cfg.train_cfg['val_interval'] = total
        cfg.param_scheduler = None
        cfg.optim_wrapper.optimizer.lr = cfg.optim_wrapper.optimizer.lr / 10
        cfg.default_hooks.checkpoint = None
        runner = self._runner(cfg, f'{name}_retraining', ('train', 'test'))
        self._timed(f'retraining {name}', runner.train)
        return _numbers(runner.test())

    def _fresh(self) -> nn.Module:
        cfg = copy.deepcopy(self.cfg)
        return self._runner(cfg, 'counting', ('train',)).model

    def _runner(self, cfg: Config, purpose: str, splits: Sequence[str]) -> Runner:
        cfg.experiment_name = f'{self.name}_{purpose}'
        return build_runner(cfg, splits=splits)

    def _timed(self, what: str, call: Any) -> Any:
        started = time.perf_counter()
        found = call()
        self.seconds[what] = round(time.perf_counter() - started, 1)
        return found


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in metrics.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Train, compress, compare, write."""
    args = parse_args(argv)
    with report_errors():
        evidence = Evidence(args)
        result = evidence.run()
        target = args.out / f'{evidence.name}.json'
        with write_atomically(target) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + '\n')
        for name, one in result['results'].items():
            print(f'{name:<10} {one["cost"]["parameters"]:>10,}  {one["test"]}')
        print(f'evidence:  {target}')


if __name__ == '__main__':
    main()
