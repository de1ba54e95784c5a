"""Tables of trainings: histories, final metrics, comparisons and verdicts."""

from neural_echos.tables.columns.base import (
    ARCHITECTURE,
    DATASET,
    DEPTH,
    KERNEL_HEIGHT,
    KERNEL_SIZE,
    KERNEL_WIDTH,
    LAYER,
    LAYER_INDEX,
    RUN,
    Column,
    Table,
)

HISTORY = Table(
    "runs/<dataset>/<architecture>/<initialisation>/seed<seed>/history.parquet, evaluation/histories.parquet",
    "One row per epoch of a run.",
    (
        *RUN,
        Column("epoch", "int32", "epochs done, from 1"),
        Column("learning_rate", "float64", "learning rate at the end of the epoch"),
        Column(
            "train_loss",
            "float64",
            "mean training loss over the epoch's steps, including label smoothing and mixing if the recipe uses them",
            "nats",
        ),
        Column("loss", "float64", "loss on the test images", "nats"),
        Column("top1", "float64", "share of test images whose top class is correct"),
        Column("top5", "float64", "share of test images whose class is among the top five; 1 with up to five classes"),
    ),
)

SCORES = (
    Column(
        "kernel_size",
        "int16",
        "side of the largest depthwise kernels or, if there are none, of the largest regular kernels",
        "taps",
    ),
    Column("parameters", "int64", "parameters of the model"),
    Column("epochs", "int32", "epochs trained"),
    Column("train_images", "int64", "images trained on"),
    Column("test_images", "int64", "images tested on"),
    Column("loss", "float64", "loss on the test images; NaN if the run diverged", "nats"),
    Column("top1", "float64", "share of test images whose top class is correct; NaN likewise"),
    Column(
        "top5",
        "float64",
        "share of test images whose class is among the top five; 1 with up to five classes; NaN likewise",
    ),
)
DIVERGED = Column("diverged", "bool", "whether the run stopped because its loss was no longer finite")

RUNS = Table(
    "evaluation/runs.parquet",
    "One row per run, after its last epoch.",
    (
        *RUN,
        *SCORES,
        Column(
            "area", "float64", "area under the learning curve: mean of the history's top1 over epochs; NaN likewise"
        ),
        DIVERGED,
        Column("adopted", "bool", "whether the run was adopted from a table of published runs instead of trained here"),
    ),
)

PUBLISHED_RUNS = Table(
    "results/published/<preset>/training.parquet",
    (
        "One row per published run, without its weights (`src/neural_echos/training/published.py`): presets adopt it instead of "
        "training a run with the same key."
    ),
    (
        Column(
            "key",
            "string",
            "SHA-256 of what identifies the run: dataset, network, initial weights, recipe, seed, and the version of the "
            "training",
        ),
        *RUN,
        *SCORES,
        DIVERGED,
        Column("history_learning_rate", "list of float64", "learning rate at the end of each epoch"),
        Column("history_train_loss", "list of float64", "mean training loss of each epoch", "nats"),
        Column("history_loss", "list of float64", "loss on the test images after each epoch", "nats"),
        Column("history_top1", "list of float64", "top1 after each epoch"),
        Column("history_top5", "list of float64", "top5 after each epoch"),
        Column("kernels", "binary", "the run's `kernels.safetensors`; null if it is not published"),
        Column("provenance", "string", "the run's `run.json`: recipe, commit, versions, machine, time, speed; JSON"),
    ),
)

ABLATED = Table(
    "ablated/<dataset>/<architecture>/<initialisation>.parquet",
    (
        "One row per seed and depthwise layer: the trained network evaluated with the kernels of that layer set to 0 "
        "(`src/neural_echos/transfer/zeroing.py`). A run that diverged has no rows."
    ),
    (
        *RUN,
        LAYER,
        LAYER_INDEX,
        DEPTH,
        Column("kernels", "int32", "number of kernels set to 0"),
        KERNEL_HEIGHT,
        KERNEL_WIDTH,
        Column("loss", "float64", "loss on the test images with this layer zeroed", "nats"),
        Column("top1", "float64", "share of test images whose top class is correct, with this layer zeroed"),
        Column("top5", "float64", "share of test images whose class is among the top five, with this layer zeroed"),
        Column("intact_top1", "float64", "top1 of the intact network"),
    ),
)

COMPARISONS = Table(
    "evaluation/comparisons.parquet",
    (
        "Each initialisation compared with each of the config's baselines, paired by seed, for three measures: `top1` after the "
        "last epoch, `area` under the learning curve, and `epochs_to_target`, the first epoch whose top1 reaches the target. "
        "Diverged runs form no pairs; with fewer than two pairs there is no interval."
    ),
    (
        DATASET,
        ARCHITECTURE,
        KERNEL_SIZE,
        Column("initialisation", "string", "initialisation that is compared"),
        Column("baseline", "string", "initialisation that it is compared with"),
        Column("measure", "string", "`top1`, `area` or `epochs_to_target`"),
        Column("seeds", "int32", "number of pairs: seeds for which both runs exist and neither diverged"),
        Column("diverged", "int32", "seeds excluded because one of the two runs diverged"),
        Column(
            "target",
            "float64",
            "for epochs_to_target, the config's share of the baseline's mean final top1; null for the other measures",
        ),
        Column(
            "censored",
            "int32",
            "for epochs_to_target, paired runs that never reached the target; they count as their epochs + 1",
        ),
        Column("baseline_censored", "int32", "the same for the baseline's runs"),
        Column("value", "float64", "mean of the measure over these pairs, a share or epochs"),
        Column("baseline_value", "float64", "the baseline's mean over the same seeds"),
        Column("difference", "float64", "mean of value − baseline_value, seed by seed"),
        Column("low", "float64", "lower end of Student's t interval of the difference"),
        Column("high", "float64", "upper end"),
        Column(
            "bootstrap_low",
            "float64",
            "lower end of the percentile bootstrap interval; with 3 seeds it covers the truth in 75 % of cases, with 5 in 83 %",
        ),
        Column("bootstrap_high", "float64", "upper end"),
        Column(
            "p",
            "float64",
            "two-sided p of the paired t test; null if all differences are the same non-zero number",
        ),
        Column(
            "p_holm",
            "float64",
            "p after Holm's correction over all comparisons with this baseline on this dataset for this measure",
        ),
        Column(
            "detectable",
            "float64",
            "minimum detectable effect at 80 % power and the 5 % level; null if the differences do not vary",
        ),
    ),
)

VERDICTS = Table(
    "verdicts.parquet",
    "One row per claim of the config.",
    (
        Column("claim", "string", "id of the claim, such as NE1"),
        Column("paper", "string", "the paper that makes it"),
        Column("statement", "string", "the claim in one sentence"),
        Column("published", "string", "what the paper reports for it; null if that could not be read"),
        Column("measured", "string", "description of `value`"),
        Column("value", "float64", "the measured value, described by `measured`; null if there was nothing to measure"),
        Column("low", "float64", "lower end of its interval"),
        Column("high", "float64", "upper end"),
        Column("scale", "string", "the preset's scale"),
        Column("verdict", "string", "`supported`, `not supported`, `inconclusive` or `not run at this scale`"),
        Column("reason", "string", "reason for the verdict, or the result of the same rule at this scale"),
        Column("artifact", "string", "the artifact that shows the numbers"),
    ),
)
