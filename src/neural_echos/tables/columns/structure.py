"""Tables of the structure of kernels: clusters, patterns, and measures of structure."""

from neural_echos.tables.columns.base import (
    KERNEL,
    KERNEL_HEIGHT,
    KERNEL_SIZE,
    KERNEL_WIDTH,
    KIND,
    MODEL,
    ROLE,
    ROW,
    TRAINED_ON,
    Column,
    Table,
)

CLUSTERS = Table(
    "clusters/<model>.parquet",
    (
        "K-means, run separately for each kind and size on kernels with mean 0 and L2 norm 1. One row per clustering and kernel, "
        "sorted by clustering and row. Kernels that are non-finite, zero (no weight above 1e-4 in magnitude) or constant have no "
        "row, and neither have sizes with too few kernels. If there are more than 50,000 kernels of one size, the restarts run "
        "on a sample of 50,000, and the three best solutions are refined on all kernels; the one with the smallest inertia is "
        "kept."
    ),
    (
        ROW,
        *KERNEL,
        Column(
            "clustering",
            "string",
            "`k=3` (the declared number of clusters) or `free` (the number with the best mean silhouette)",
        ),
        Column("cluster", "int16", "number of the cluster within its clustering, kind and size; 0 is the largest"),
        Column(
            "name",
            "string",
            "`excitatory`, `inhibitory` or `other`, according to the cluster's average; several clusters can share a name",
        ),
        Column("distance", "float64", "Euclidean distance from the normalised kernel to its centroid"),
    ),
)

CENTROIDS = Table(
    "clusters/<model>.centroids.parquet",
    "One row per cluster.",
    (
        MODEL,
        KIND,
        KERNEL_HEIGHT,
        KERNEL_WIDTH,
        Column(
            "clustering",
            "string",
            "`k=3` (the declared number of clusters) or `free` (the number with the best mean silhouette)",
        ),
        Column("cluster", "int16", "number of the cluster within its clustering, kind and size; 0 is the largest"),
        Column(
            "name",
            "string",
            "`excitatory`, `inhibitory` or `other`, according to the cluster's average; several clusters can share a name",
        ),
        Column("count", "int64", "kernels in the cluster"),
        Column(
            "similarity",
            "float64",
            "cosine of the centroid with its best Difference of Gaussians; null if the size has none (even or not square)",
        ),
        Column("gamma", "float64", "centre-to-surround ratio γ of that Difference of Gaussians; null likewise"),
        Column(
            "taps",
            "list of float32",
            "mean of the cluster's normalised kernels, row-major; its L2 norm is 1 if they are all identical",
        ),
    ),
)

CHOICES = Table(
    "clusters/<model>.choices.parquet",
    (
        "One row per kind, kernel size and number of clusters: the numbers 2 to 8, and the declared one. If there are more than "
        "20,000 kernels, a sample of 20,000 is compared. The number with the best mean silhouette is chosen, or the smallest of "
        "tied numbers; inertia and stability are not used. Every number gets the same number of restarts, of which the best is "
        "measured."
    ),
    (
        MODEL,
        KIND,
        KERNEL_HEIGHT,
        KERNEL_WIDTH,
        Column("kernels", "int64", "kernels compared"),
        Column("clusters", "int16", "number of clusters"),
        Column("inertia", "float64", "sum of the squared distances from the normalised kernels to their centroids"),
        Column("silhouette", "float64", "mean silhouette, from −1 to 1; −1 if all kernels are identical"),
        Column(
            "stability",
            "float64",
            "mean adjusted Rand index over all pairs of restarts: 1 if they agree, about 0 by chance; NaN with one restart",
        ),
        Column("chosen", "bool", "whether this number is used for the clustering `free`"),
        Column("declared", "bool", "whether this is the config's number"),
    ),
)

CODE_CLUSTER = Column("cluster", "int16", "cluster of the code within its kind and size; 0 is the largest")

PATTERNS = Table(
    "patterns/<model>.parquet",
    (
        "One row per kernel, sorted by row: its code from an autoencoder with a one-dimensional latent, trained separately for "
        "each kind and size (`src/neural_echos/structure/patterns.py`), its cluster, and the named pattern of both. The null "
        "columns are from the same kernels with their taps shuffled, for which everything was retrained. The config sets how "
        "often the autoencoder is trained. Non-finite, zero and constant kernels have no row. Neither have sizes that are not "
        "square, are below 3×3, or have fewer than ten kernels per cluster."
    ),
    (
        ROW,
        *KERNEL,
        Column("code", "float64", "code of the kernel; between 0 and 1 if the config squashes it"),
        CODE_CLUSTER,
        Column(
            "cluster_pattern",
            "string",
            "named pattern of the cluster's decoded centroid, or `other` if the cosine is below the config's threshold",
        ),
        Column(
            "cluster_cosines",
            "list of float64",
            "cosine of the cluster's decoded centroid with its best template, for each training; code and cluster are from the "
            "first",
        ),
        Column("pattern", "string", "named pattern of the kernel itself, likewise"),
        Column("cosine", "float64", "cosine of the kernel with its best template"),
        Column("null_cluster_cosines", "list of float64", "cluster_cosines after shuffling the taps"),
        Column("null_cosine", "float64", "cosine after shuffling the taps"),
    ),
)

PATTERN_CENTROIDS = Table(
    "patterns/<model>.centroids.parquet",
    "One row per cluster of codes.",
    (
        MODEL,
        KIND,
        KERNEL_HEIGHT,
        KERNEL_WIDTH,
        CODE_CLUSTER,
        Column("code", "float64", "mean code of the cluster"),
        Column("count", "int64", "kernels in the cluster"),
        Column("pattern", "string", "cluster_pattern of the table patterns"),
        Column("cosine", "float64", "first of the cluster_cosines of the table patterns"),
        Column("taps", "list of float32", "the decoded code: mean 0 and L2 norm 1, row-major"),
    ),
)

STRUCTURE = Table(
    "evaluation/structure.parquet",
    (
        "One row per bank, kind and odd kernel size. A kernel counts as structured if its best cosine with a Difference of "
        "Gaussians exceeds the 95th percentile over the same kernels with their taps shuffled, with at least 100,000 shuffles in "
        "total; 5 % do by chance."
    ),
    (
        MODEL,
        Column(
            "kind",
            "string",
            "`depthwise`, `regular`, or `stem`: a regular layer that reads the image itself (one or three channels)",
        ),
        ROLE,
        TRAINED_ON,
        KERNEL_SIZE,
        Column("kernels", "int64", "number of kernels that are finite and neither zero nor constant"),
        Column("layers", "int32", "number of layers that they come from"),
        Column(
            "dropped",
            "int64",
            "number of excluded kernels: non-finite, zero (no weight above 1e-4 in magnitude) or constant",
        ),
        Column(
            "almost_dead",
            "int64",
            "number of kernels that are counted although no weight reaches 1 % of the layer's largest",
        ),
        Column("threshold", "float64", "cosine above which a kernel counts as structured"),
        Column("share", "float64", "share of kernels above the threshold; .05 by chance"),
        Column(
            "low",
            "float64",
            (
                "lower end of its 95 % interval: a bootstrap over layers, each sample with its own threshold, with Student's t "
                "for that number of layers; Wilson's interval if it is wider or there is only one layer (then too narrow)"
            ),
        ),
        Column("high", "float64", "upper end"),
        Column("mean_cosine", "float64", "mean cosine of the kernels with their best Difference of Gaussians"),
        Column("null_mean_cosine", "float64", "the same with shuffled taps"),
        Column(
            "sparsity",
            "float64",
            "share of kernels in which no weight reaches 1 % of the layer's largest, mean over layers (CNN Filter DB)",
        ),
        Column(
            "variance_entropy",
            "float64",
            (
                "entropy (log10) of the layer's variance over the principal axes of its kernels, mean over layers (CNN Filter "
                "DB): 0 for one pattern, log10 k² (.95 at 3×3, 1.40 at 5×5, 1.69 at 7×7) for white noise"
            ),
        ),
        Column(
            "excitatory_share",
            "float64",
            "share of kernels in clusters named `excitatory`, with the declared k; null if nothing was clustered",
        ),
        Column("inhibitory_share", "float64", "the same for `inhibitory`"),
        Column("other_share", "float64", "the same for `other`"),
        Column("resampled", "list of float32", "share in each bootstrap sample"),
    ),
)

EXPLAINED = Table(
    "evaluation/explained.parquet",
    (
        "One row per bank, kind and kernel size, computed from the bank's matches. Shares of variance are squared cosines; their "
        "intervals are bootstrapped over layers."
    ),
    (
        MODEL,
        KIND,
        ROLE,
        TRAINED_ON,
        KERNEL_HEIGHT,
        KERNEL_WIDTH,
        Column("kernels", "int64", "number of kernels with a match"),
        Column("layers", "int32", "number of their layers"),
        Column("explained", "float64", "mean share of variance that the best model explains"),
        Column("low", "float64", "lower end of its 95 % interval"),
        Column("high", "float64", "upper end"),
        Column("null_explained", "float64", "the same mean after shuffling the taps"),
        Column("dog", "float64", "mean share that the best DoG explains; null if the size has none"),
        Column("gaussian", "float64", "mean share that the best Gaussian explains"),
        Column("gaussian_derivative_1", "float64", "mean share that the best first derivative explains"),
        Column("gaussian_derivative_2", "float64", "mean share that the best second derivative explains"),
        Column("null_dog", "float64", "`dog` after shuffling the taps"),
        Column("best_dog", "float64", "share of kernels whose best model is the DoG"),
        Column("best_gaussian", "float64", "share of kernels whose best model is the Gaussian"),
        Column("best_gaussian_derivative_1", "float64", "share of kernels whose best model is the first derivative"),
        Column("best_gaussian_derivative_2", "float64", "share of kernels whose best model is the second derivative"),
        Column(
            "offset",
            "float64",
            "median distance of the best Gaussian or derivative from the middle, taps, over kernels for which that is the best "
            "model",
        ),
    ),
)

PATTERN_SHARES = Table(
    "evaluation/pattern_shares.parquet",
    (
        "Shares of kernels with a named pattern. For each bank, kind and kernel size: one row per threshold and way of counting, "
        "with and without shuffled taps; at the declared threshold, also one row per layer."
    ),
    (
        MODEL,
        KIND,
        ROLE,
        TRAINED_ON,
        KERNEL_SIZE,
        Column(
            "layer",
            "string",
            "path of the module in the model, or name of the tensor without `.weight`; null for all layers together",
        ),
        Column(
            "layer_index",
            "int32",
            "number of the layer among those of its kind, from 0; null for all layers together",
        ),
        Column("depth", "float64", "relative depth of the layer, in [0, 1]; null for all layers together"),
        Column(
            "by",
            "string",
            "`cluster`: a kernel counts if its cluster's decoded centroid has a pattern; `kernel`: if the kernel itself has one",
        ),
        Column("shuffled", "bool", "whether the taps were shuffled, so that there is nothing to find"),
        Column("threshold", "float64", "minimum cosine for a pattern"),
        Column("declared", "bool", "whether this is the config's threshold"),
        Column("kernels", "int64", "number of kernels counted"),
        Column("layers", "int32", "number of layers that they come from"),
        Column("share", "float64", "share of kernels with a pattern at that threshold"),
        Column(
            "low",
            "float64",
            "lower end of the bootstrap interval over layers and trainings; Wilson's interval for a single layer (too narrow)",
        ),
        Column("high", "float64", "upper end"),
        Column(
            "by_training",
            "list of float64",
            "share in each training of the autoencoder, whose mean is `share`; a single value if counted by kernel",
        ),
    ),
)
