"""Tables of kernels: banks, and the survey of timm's models."""

from neural_echos.tables.columns.base import KERNEL, Column, Table

BANK = Table(
    "banks/<model>.parquet",
    (
        "One row per kernel of one model, sorted by layer and channel. Kernels are raw: neither centred nor scaled. One bank can "
        "contain kernels of several sizes, so `taps` is a list of length kernel_height · kernel_width, row by row from the top "
        "left. Depthwise layers are complete. A regular layer has one kernel for each pair of output and input channel, of which "
        "at most 1,000, evenly spaced, are kept. Non-finite kernels are included; later rooms drop them and log their number."
    ),
    (
        *KERNEL,
        Column("channel", "int32", "output channel, from 0"),
        Column(
            "input_channel",
            "int32",
            "input channel of a regular kernel within its group, from 0; 0 for depthwise kernels",
        ),
        Column("stride", "int16", "stride of the convolution; null if only tensors are known", "pixels"),
        Column("dilation", "int16", "dilation of the convolution; null if only tensors are known", "pixels"),
        Column("taps", "list of float32", "the weights, row-major, in the model's own unit"),
    ),
)

SURVEY = Table(
    "config/survey.csv",
    (
        "The timm models with depthwise kernels: one row per architecture and pretrained tag, and one row for each architecture "
        "without pretrained weights. [zoo.md](zoo.md) explains how kernels are counted."
    ),
    (
        Column("family", "string", "module of timm that defines the architecture"),
        Column("architecture", "string", "name of the architecture in timm"),
        Column(
            "tag",
            "string",
            "pretrained weights; `<architecture>.<tag>` is their name in timm; null if there are none",
        ),
        Column("hub", "string", "their repository on the Hugging Face Hub; null if they are hosted elsewhere"),
        Column("licence", "string", "licence of the pretrained weights according to timm; null if it states none"),
        Column("parameters", "int64", "parameters of the architecture with a head for 1,000 classes"),
        Column("layers", "int32", "depthwise layers"),
        Column("kernels", "int64", "depthwise kernels of the architecture, repeated in each of its rows"),
        Column("kernels_by_size", "string", "the same by height and width, smallest first: `3x3:96 7x7:6624`"),
        Column("largest", "int16", "longest side of a depthwise kernel", "taps"),
        Column("timm", "string", "version of timm"),
    ),
)
