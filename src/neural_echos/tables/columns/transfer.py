"""Tables of networks with replaced kernels, and of signals at initialisation."""

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

FILTERS = Column("filters", "int16", "number of filters in the set; null for the control, whose kernels are kept")

REPLACEMENTS = Table(
    "transfer/<dataset>/<architecture>/<initialisation>/<candidates>.<n>.replacements.parquet",
    (
        "Trained runs of the n-th group of seeds whose depthwise kernels were replaced by the best a·x + b of a set of filters; "
        "four rows per run. Scores are for all test images."
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
        Column("loss", "float64", "loss; NaN if the fine-tuning diverged", "nats"),
        Column("top1", "float64", "top-1 accuracy; NaN likewise"),
        Column("top5", "float64", "top-5 accuracy; NaN likewise"),
    ),
)

REPLACEMENT_ERRORS = Table(
    "transfer/<dataset>/<architecture>/<initialisation>/<candidates>.<n>.errors.parquet",
    "Error of the replacement in each depthwise layer; no rows for the control, whose kernels are kept.",
    (
        *RUN,
        CANDIDATES,
        FILTERS,
        LAYER,
        LAYER_INDEX,
        DEPTH,
        KERNEL_HEIGHT,
        KERNEL_WIDTH,
        Column("kernels", "int64", "number of kernels in the layer"),
        Column("filters_used", "int16", "number of filters that are the best for some kernel of the layer"),
        Column(
            "error",
            "float64",
            "relative squared error Σ ‖y − (a x + b)‖² / Σ ‖y − mean y‖², in [0, 1]; NaN if all kernels are constant",
        ),
    ),
)

ELIMINATIONS = Table(
    "transfer/<dataset>/<architecture>/<initialisation>/<candidates>.<n>.eliminations.parquet",
    (
        "Greedy elimination of filters from a set, one row per step. The first row of a run is the trained model with its own "
        "kernels, the second the whole set, and the last of the elimination no filter at all (every kernel is its mean). "
        "Exchanges of survivors at the elbow follow."
    ),
    (
        *RUN,
        CANDIDATES,
        Column("phase", "string", "`trained`, `elimination` or `exchange`"),
        Column("filters", "int16", "number of filters left; null for `trained`"),
        Column("removed", "int16", "index in the set of the removed filter; null if none was removed"),
        Column("added", "int16", "index of the filter that replaced it; null if none was added"),
        Column("images", "int64", "number of training images in the subset that decides"),
        Column("loss", "float64", "loss on the subset", "nats"),
        Column("top1", "float64", "top-1 on the subset"),
        Column("test_images", "int64", "test images"),
        Column("test_loss", "float64", "loss on all test images; null unless it was checked"),
        Column("test_top1", "float64", "top-1 on all test images; null likewise"),
        Column(
            "elbow",
            "bool",
            "whether this is the smallest number of filters before top-1 on the subset falls by more than the declared share",
        ),
        Column(
            "taps",
            "list of float32",
            "the filter that was added, or else removed, row-major, centred, unit norm; null if there was none",
        ),
    ),
)

SIGNALS = Table(
    "signals/<architecture>.parquet",
    (
        "One row per initialisation, seed and depthwise layer: one batch of training images is passed forward and backward "
        "through a freshly initialised network in training mode. Frequencies are in cycles per position of the layer's feature "
        "map."
    ),
    (
        *RUN,
        LAYER,
        LAYER_INDEX,
        DEPTH,
        KERNEL_HEIGHT,
        KERNEL_WIDTH,
        Column("replaced", "int32", "number of kernels that were redrawn"),
        Column("frozen", "bool", "whether the kernels are frozen during training"),
        Column("kernel_l2", "float64", "mean L2 norm of the layer's kernels"),
        Column(
            "input_mean",
            "float64",
            "root mean square, over channels, of a channel's mean over images and positions, at the layer's input",
        ),
        Column(
            "input_variance",
            "float64",
            "mean, over channels, of a channel's variance over images and positions, at the layer's input",
        ),
        Column("output_mean", "float64", "the same as input_mean, at the layer's output"),
        Column("output_variance", "float64", "the same as input_variance, at the layer's output"),
        Column(
            "spectrum",
            "list of float64",
            "share of the centred output's power in 8 equal bands of radial frequency up to sqrt(½); NaN if it is constant",
        ),
        Column("frequency", "float64", "power-weighted mean radial frequency of the output"),
        Column("gradient_output", "float64", "root mean square of the loss's gradient with respect to the output"),
        Column("gradient_norm", "float64", "L2 norm of the loss's gradient with respect to the kernels, frozen or not"),
    ),
)
