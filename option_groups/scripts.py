"""Which script has which options: the groups together, and the layers of their defaults. No torch."""

import dataclasses
from dataclasses import dataclass

import help_texts
from option_groups.kinds import SEARCH, TEST, TRAIN
from option_groups.labels import LabelOptions
from option_groups.recipe import AverageOptions, IndependentAverageOptions, RateOptions, RecipeOptions
from option_groups.resolution import ExtensionOptions
from option_groups.searching import (
    AshaOptions, BeamOptions, ControllerOptions, DgganOptions, GrowthOptions, IndependentOptions,
    MultiLevelOptions, RandomSharingOptions, SearchOptions, SharedGanOptions, SpaceOptions,
)  # fmt: skip
from option_groups.shared import (
    AuthorsOptions, CellOptions, DataOptions, EstimateOptions, EvaluationOptions, ModelOptions,
    NetworkOptions, ResumeOptions, RunOptions, ScoringOptions, TestOptions,
)  # fmt: skip
from option_groups.training import DeriveOptions, RetrainOptions, TrainingOptions, WeightOptions
from utils.options import Script


@dataclass(frozen=True)
class Options:
    """The resolved options of one script, a group an attribute: None if the script does not read it.

    typed: names of the options on the command line. configured: of those that --config sets. unread:
    {option: value} that the script has but ignores.
    """

    script: str
    typed: frozenset
    configured: frozenset
    unread: dict
    data: DataOptions = None
    labels: LabelOptions = None
    authors: AuthorsOptions = None
    model: ModelOptions = None
    network: NetworkOptions = None
    cells: CellOptions = None
    weights: WeightOptions = None
    training: TrainingOptions = None
    recipe: RecipeOptions = None
    average: AverageOptions = None
    rates: RateOptions = None
    scoring: ScoringOptions = None
    evaluation: EvaluationOptions = None
    run: RunOptions = None
    resuming: ResumeOptions = None
    estimating: EstimateOptions = None
    search: SearchOptions = None
    beam: BeamOptions = None
    space: SpaceOptions = None
    independent: IndependentOptions = None
    independent_average: IndependentAverageOptions = None
    shared_gan: SharedGanOptions = None
    multi_level: MultiLevelOptions = None
    controller: ControllerOptions = None
    random_sharing: RandomSharingOptions = None
    asha: AshaOptions = None
    growth: GrowthOptions = None
    dggan: DgganOptions = None
    derive: DeriveOptions = None
    extension: ExtensionOptions = None
    retrain: RetrainOptions = None
    test: TestOptions = None

    @property
    def reads_no_data(self):
        """Whether the run is only described, so that no data set is read."""
        return self.run.dry_run and not self.estimating.estimate

    def flat(self):
        """{option: value}, plain data for config.json and checkpoints.

        Options that only concern this call, such as --load_path, are left out.
        """
        values = self.unread.copy()
        for options in filter(None, map(self.__getattribute__, GROUPS)):
            values |= dataclasses.asdict(options)
        return {name: value for name, value in values.items() if name not in THIS_CALL_ONLY}


GROUPS = {field.name: field.type for field in dataclasses.fields(Options) if hasattr(field.type, "scripts")}
AUTHORS = ("channels", "dis_model")
SCRIPTS = {
    SEARCH: Script(
        SEARCH,
        "Search a generator: its cells (AutoGAN and others), or by growing both networks (DGGAN, ProgGAN).",
        GROUPS,
        tolerated=(*AUTHORS, "gen_model"),
        refused=("fid_stat", "num_eval_imgs"),
        # A search has no published architecture, and its reward is one score by one backend.
        choices={"gen_model": ("shared_gan",), "inception_backend": ("torch", "tf")},
        switch="--method",
        aliases=help_texts.ALIASES,
    ),
    TRAIN: Script(
        TRAIN,
        "Train one architecture from scratch, or all that a search kept.",
        GROUPS,
        tolerated=AUTHORS,
        aliases=help_texts.ALIASES,
    ),
    TEST: Script(
        TEST,
        "Score a checkpoint and draw its samples.",
        GROUPS,
        tolerated=(*AUTHORS, "g_spectral_norm"),
        refused=("d_spectral_norm", "init_type", "precision", "print_freq"),
        aliases=help_texts.ALIASES,
    ),
}
# The authors search with half the width they retrain with.
SCRIPT_DEFAULTS = {
    SEARCH: {"exp_name": "search", "gf_dim": 128, "df_dim": 64},
    TRAIN: {"exp_name": "derive"},
    TEST: {"exp_name": "test"},
}
# ProgGAN's training. 800,000 images to fade in and 800,000 more are 100,000 steps of 16.
GROWING_DEFAULTS = {
    "latent_dim": 512, "dis_batch_size": 16, "gen_batch_size": 16, "g_lr": 1e-3, "d_lr": 1e-3, "beta2": 0.99,
    "n_critic": 1, "loss": "wgan-gp", "max_iter": 100000, "reward": "fid", "rl_num_eval_img": 10000,
}  # fmt: skip
GROWING_SEARCH = {**GROWING_DEFAULTS, "topk": 20}
METHOD_DEFAULTS = {
    "autogan": {},
    "slas": {"exp_name": "slas"},
    "random_sharing": {"exp_name": "random_sharing"},
    "asha": {"exp_name": "asha"},
    "dggan": {**GROWING_SEARCH, "exp_name": "dggan"},
    "proggan": {**GROWING_SEARCH, "exp_name": "proggan"},
    "growing": GROWING_DEFAULTS,  # the family of an architecture that is trained or scored
}
PROTOCOL_DEFAULTS = {"autogan": {}, "sngan": {"num_eval_imgs": 5000, "split": "test"}}
# Options that may change when a run goes on: where and by what means it computes, not what.
FREE_ON_RESUME = {"data_path", "exp_name", "print_freq", "inception_path", "tf_python", "on_nan"}
FREE_ON_RESUME |= {"device", "compile", "num_workers", "workers", "budget_hours"}
FREE_ON_RESUME |= {"engine", "gpus_per_task"}
THIS_CALL_ONLY = {"load_path", "resume", "dry_run", "estimate", "folder_file", "config"}
