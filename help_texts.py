"""What --help ends with, and what unknown options may mean. option_groups/ has the options. No torch."""

# {what is meant: what users of other projects type}. Words of an option's own name, such as seed, are found
# without an entry.
MEANT = {
    ("load_path",): "resume checkpoint ckpt weights model model_path",
    ("device",): "gpu gpus gpu_id cuda",
    ("max_epoch", "shared_epoch", "max_search_iter", "growth_iterations"): "epochs epoch n_epochs",
    ("max_iter", "max_search_iter", "growth_iterations"): "iterations iters steps max_steps niter",
    ("gen_batch_size", "dis_batch_size", "eval_batch_size"): "batch_size batch bs",
    ("g_lr", "d_lr", "ctrl_lr"): "lr learning_rate",
    ("ema_decay", "ema_halflife"): "ema ema_beta ema_kimg",
    ("augment", "ada_target"): "diffaugment diffaug augmentation ada aug policy",
    ("accumulate",): "grad_accum gradient_accumulation accumulation_steps",
    ("lr_schedule", "lr_decay"): "scheduler lr_scheduler",
    ("exp_name",): "output out outdir output_dir save_dir log_dir name",
    ("data_path",): "data data_dir dataroot dataset_path root",
    ("img_size",): "size resolution image_size imsize",
    ("latent_dim",): "nz z_dim noise_dim",
    ("num_workers",): "threads n_workers nworkers",
    ("precision",): "fp16 bf16 amp half",
    ("arch",): "architecture genotype",
    ("num_images", "num_eval_imgs", "rl_num_eval_img"): "num_samples n_samples",
}  # fmt: skip
ALIASES = {word: names for names, words in MEANT.items() for word in words.split()}


def epilog(script, method, other_methods, growing_defaults):
    """What --help of a script ends with: two examples, and what else there is.

    method: of a search. growing_defaults: {option: default} of growing architectures.
    """
    if script == "search":
        examples = (
            f"search.py --method {method} --dataset cifar10",
            f"search.py --method {method} --dataset folder --data_path pictures.zip --dry_run",
        )
        more = f"Options of other methods: --help with --method {', '.join(other_methods)}."
    elif script == "train_derived":
        examples = (
            "train_derived.py --gen_model autogan_cifar10_a --dataset cifar10",
            "train_derived.py --arch_file logs/search_TIME --exp_name mine",
        )
        stated = " ".join(f"--{name} {value}" for name, value in growing_defaults.items())
        more = f"Of a growing architecture the defaults are\n{stated}."
    else:
        examples = (
            "test.py --load_path logs/derive_TIME --checkpoint last",
            "test.py --load_path logs/derive_TIME --save_images samples --num_images 100",
        )
        more = "The options of an earlier call are read back by --config logs_eval/test_TIME/config.json."
    return "\n".join(["examples:", *(f"  python {example}" for example in examples), "", more])
