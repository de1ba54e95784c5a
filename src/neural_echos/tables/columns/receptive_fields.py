"""Tables of receptive-field fits and of the master key filters in scale space."""

from neural_echos.tables.columns.base import KERNEL, ROW, Column, Table

FITS = Table(
    "fits/<model>.parquet",
    (
        "The best Difference of Gaussians for every kernel of odd, square size, and for the same kernel with its taps shuffled. "
        "Non-finite, zero and constant kernels have no row. The fit is to the kernel minus its mean."
    ),
    (
        ROW,
        *KERNEL,
        Column(
            "pattern",
            "string",
            "`on-centre` or `off-centre` if the cosine reaches the config's threshold, else `other`",
        ),
        Column("sign", "int8", "+1 excitatory centre, −1 inhibitory centre"),
        Column("gamma", "float64", "centre-to-surround ratio γ, between 0 and 1"),
        Column("r", "float64", "distance at which centre and surround are equal", "taps"),
        Column(
            "sigma_x",
            "float64",
            "standard deviation of the surround along a row; the centre's is γ times as large",
            "taps",
        ),
        Column("sigma_y", "float64", "the same along a column; equal to sigma_x, because this family is round"),
        Column("orientation", "float64", "null, because a round receptive field has none"),
        Column(
            "offset_x", "float64", "offset of the centre, taps to the right of the kernel's centre; 0 in this family"
        ),
        Column("offset_y", "float64", "offset of the centre, taps from the kernel's centre; 0 in this family"),
        Column(
            "amplitude",
            "float64",
            "factor of the unit Difference of Gaussians (its taps in the centre sum to 1), in the kernel's unit; not negative",
        ),
        Column("residual", "float64", "L2 norm of the residual divided by the norm of the centred kernel, from 0 to 1"),
        Column("cosine", "float64", "cosine of the centred kernel with its fit, from 0 to 1; residual² = 1 − cosine²"),
        Column("null_cosine", "float64", "best cosine after shuffling the kernel's taps"),
    ),
)

SPREAD = Table(
    "scale_space/spread.parquet",
    (
        "One row per master key filter. The mean and the spread are computed from |h|, in coordinates with their origin at the "
        "middle tap, x to the right and y *up*. The weighted ones are computed from |h| |w|, where w is the filter's ideal model "
        "at σ = 1 (for filter 7, the discrete Gaussian at σ = 1/√2)."
    ),
    (
        Column("filter", "int16", "number of the filter, from 1 to 8"),
        Column(
            "constant",
            "float64",
            "constant subtracted from filters 7 and 8, which minimises the spread; 0 for the others",
        ),
        Column(
            "divisor",
            "float64",
            "divisor of the filter: minus its centred first moment along the derivative axis (1 to 6), or its DC response (7, 8)",
        ),
        Column(
            "l1", "float64", "L1 norm of the original filter (1 to 6) or the normalised filter (7, 8), as in the paper"
        ),
        Column("m_x", "float64", "mean of x", "taps"),
        Column("m_y", "float64", "mean of y", "taps"),
        Column("v_xx", "float64", "variance of x", "taps²"),
        Column("v_xy", "float64", "covariance of x and y", "taps²"),
        Column("v_yy", "float64", "variance of y", "taps²"),
        Column("weighted_m_x", "float64", "m_x, weighted"),
        Column("weighted_m_y", "float64", "m_y, weighted"),
        Column("weighted_v_xx", "float64", "v_xx, weighted"),
        Column("weighted_v_xy", "float64", "v_xy, weighted"),
        Column("weighted_v_yy", "float64", "v_yy, weighted"),
        Column(
            "taps",
            "list of float32",
            "the normalised filter, 7 · 7 taps, row by row from the top left (largest y)",
        ),
    ),
)

SCALES = Table(
    "scale_space/scales.parquet",
    (
        "One row per master key filter and method: the ideal model that the method finds for the normalised filter. The methods "
        "are defined at the top of `src/neural_echos/receptive_fields/master_key.py`; filter 7 has no A or B."
    ),
    (
        Column("filter", "int16", "number of the filter, from 1 to 8"),
        Column("method", "string", "`A`, `B`, `C1`, `C2`, `D1`, `D2`, or `joint A` to `joint D`"),
        Column("sigma_x", "float64", "standard deviation of the ideal model's discrete Gaussian along x", "taps"),
        Column("sigma_y", "float64", "the same along y"),
        Column("amount", "float64", "amount γ₇ of the Laplacian in filter 7's ideal model; null for the others"),
        Column("l1", "float64", "L1 norm of the normalised filter minus its ideal model"),
        Column("l2", "float64", "L2 norm of the same"),
        Column("cosine", "float64", "cosine of the normalised filter with its ideal model"),
    ),
)

MATCHES = Table(
    "matches/<model>.parquet",
    (
        "One row per kernel, with the best of four receptive-field models: the DoG (only odd, square sizes), and the Gaussian "
        "and its first and second derivatives, all three oriented, anisotropic and offset. x points right and y *up* from the "
        "middle of the kernel. Kernels that are non-finite, zero or constant, or have a side of 1, have no row."
    ),
    (
        ROW,
        *KERNEL,
        Column(
            "best",
            "string",
            "model with the largest cosine: `dog`, `gaussian`, `gaussian_derivative_1` or `gaussian_derivative_2`",
        ),
        Column(
            "cosine",
            "float64",
            "cosine of the centred kernel with its best model; its square is the share of variance that the model explains",
        ),
        Column(
            "amplitude",
            "float64",
            "factor of the best model; if `best` is `dog`, its sign is the centre's",
        ),
        Column("bias", "float64", "constant added to the model"),
        Column("gamma", "float64", "γ of the best model; null unless it is the DoG"),
        Column("sigma_u", "float64", "standard deviation along the orientation; null for the DoG", "taps"),
        Column("sigma_v", "float64", "standard deviation across the orientation; null for the DoG", "taps"),
        Column("orientation", "float64", "angle, anticlockwise from x; null for the DoG", "rad"),
        Column("offset_x", "float64", "taps to the right of the middle; null for the DoG"),
        Column("offset_y", "float64", "taps above the middle; null for the DoG"),
        Column("cosine_dog", "float64", "cosine with the best DoG; null if the size has none"),
        Column("cosine_gaussian", "float64", "cosine with the best Gaussian"),
        Column("cosine_gaussian_derivative_1", "float64", "cosine with the best first derivative"),
        Column("cosine_gaussian_derivative_2", "float64", "cosine with the best second derivative"),
        Column(
            "null_cosine",
            "float64",
            "best cosine after shuffling the kernel's taps; like the next columns, only for every `null_every`-th row",
        ),
        Column("null_cosine_dog", "float64", "cosine_dog after shuffling the taps"),
        Column("null_cosine_gaussian", "float64", "cosine_gaussian after shuffling the taps"),
        Column("null_cosine_gaussian_derivative_1", "float64", "cosine_gaussian_derivative_1 after shuffling the taps"),
        Column("null_cosine_gaussian_derivative_2", "float64", "cosine_gaussian_derivative_2 after shuffling the taps"),
    ),
)
