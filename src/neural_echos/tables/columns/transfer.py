"""Tables of networks whose kernels were replaced, and of signals at initialisation."""

from neural_echos.tables.columns.base import (
    CANDIDATES,
    DEPTH,
    KERNEL_HEIGHT,
    KERNEL_WIDTH,
    LAYER,
    LAYER_INDEX,
    RUN,
    Column,
    Table,
)

FILTERS = Column("filters", "int16", "filters of the set; null for the control, whose kernels are kept")

REPLACEMENTS = Table(
    "transfer/<dataset>/<architecture>/<initialisation>/<candidates>.<n>.replacements.parquet",
    (
        "Trained runs whose depthwise kernels were replaced by the best a·x + b of a set of filters, of the n-th "
        "group of seeds; four rows for each run. Scores are of all test images."
    ),
    (
        *RUN,
        CANDIDATES,
        FILTERS,
        Column(
            "stage",
            "string",
            "`trained`, `replaced`, `batch_norm` (statistics re-estimated) or `fine_tuned` (depthwise kernels frozen)",
        ),
        Column("test_images", "int64", "images tested on"),
        Column("loss", "float64", "loss; NaN where the fine-tuning diverged", "nats"),
        Column("top1", "float64", "top-1 accuracy; NaN likewise"),
        Column("top5", "float64", "top-5 accuracy; NaN likewise"),
    ),
)

REPLACEMENT_ERRORS = Table(
    "transfer/<dataset>/<architecture>/<initialisation>/<candidates>.<n>.errors.parquet",
    "What replacement left of each depthwise layer; no rows for the control, whose kernels are kept.",
    (
        *RUN,
        CANDIDATES,
        FILTERS,
        LAYER,
        LAYER_INDEX,
        DEPTH,
        KERNEL_HEIGHT,
        KERNEL_WIDTH,
        Column("kernels", "int64", "kernels of the layer"),
        Column("filters_used", "int16", "filters that are the best of some kernel of the layer"),
        Column(
            "error",
            "float64",
            "relative squared error Σ ‖y − (a x + b)‖² / Σ ‖y − mean y‖², in [0, 1]; NaN where all kernels are constant",
        ),
    ),
)

ELIMINATIONS = Table(
    "transfer/<dataset>/<architecture>/<initialisation>/<candidates>.<n>.eliminations.parquet",
    (
        "Greedy elimination of filters from a set, a row for each step. The first row of a run is the trained model "
        "with its own kernels, the second the whole set, the last of the elimination no filter at all (every kernel "
        "its mean); exchanges of survivors at the elbow follow."
    ),
    (
        *RUN,
        CANDIDATES,
        Column("phase", "string", "`trained`, `elimination` or `exchange`"),
        Column("filters", "int16", "filters left; null for `trained`"),
        Column("removed", "int16", "place in the set of the filter that was removed; null where none was"),
        Column("added", "int16", "place of the filter that replaced it; null where none was added"),
        Column("images", "int64", "train images of the subset that decides"),
        Column("loss", "float64", "loss on the subset", "nats"),
        Column("top1", "float64", "top-1 on the subset"),
        Column("test_images", "int64", "test images"),
        Column("test_loss", "float64", "loss on all test images; null but where it was checked"),
        Column("test_top1", "float64", "top-1 on all test images; null likewise"),
        Column(
            "elbow",
            "bool",
            "whether this is the fewest filters before top-1 on the subset falls by more than the declared share",
        ),
        Column(
            "taps",
            "list of float32",
            "the filter that was added, or else removed, row-major, centred, unit norm; null where none was",
        ),
    ),
)

SIGNALS = Table(
    "signals/<architecture>.parquet",
    (
        "One row per initialisation, seed and depthwise layer: one batch of train images forward and back through a "
        "freshly initialised network in training mode. Frequencies are in cycles per position of the layer's map."
    ),
    (
        *RUN,
        LAYER,
        LAYER_INDEX,
        DEPTH,
        KERNEL_HEIGHT,
        KERNEL_WIDTH,
        Column("replaced", "int32", "how many kernels were drawn anew"),
        Column("frozen", "bool", "whether the kernels are kept from training"),
        Column("kernel_l2", "float64", "mean L2 norm of the layer's kernels"),
        Column(
            "input_mean",
            "float64",
            "root mean square, over channels, of a channel's mean over images and positions, entering",
        ),
        Column(
            "input_variance",
            "float64",
            "mean, over channels, of a channel's variance over images and positions, entering",
        ),
        Column("output_mean", "float64", "input_mean, leaving"),
        Column("output_variance", "float64", "input_variance, leaving"),
        Column(
            "spectrum",
            "list of float64",
            "share of the centred output's power in 8 equal bands of radial frequency up to sqrt(½); NaN where it is constant",
        ),
        Column("frequency", "float64", "power-weighted mean radial frequency of the output"),
        Column("gradient_output", "float64", "root mean square of the loss's gradient with respect to the output"),
        Column("gradient_norm", "float64", "L2 norm of the loss's gradient with respect to the kernels, frozen or not"),
    ),
)
