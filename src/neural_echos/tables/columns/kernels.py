"""Tables of kernels: banks, and the survey of timm's models."""

from neural_echos.tables.columns.base import KERNEL, Column, Table

BANK = Table(
    "banks/<model>.parquet",
    (
        "One row per kernel of one model, sorted by layer and channel. Kernels are raw: neither centred nor scaled. "
        "One bank holds kernels of several sizes, so `taps` is a list of length kernel_height · kernel_width, row by "
        "row from the top left. A depthwise layer is whole. A regular layer has one kernel for each pair of output "
        "and input channel, and at most 1,000 of them, evenly spaced, are kept. Kernels that are not finite stay in; "
        "later rooms drop them and count them in their logs."
    ),
    (
        *KERNEL,
        Column("channel", "int32", "output channel, from 0"),
        Column(
            "input_channel",
            "int32",
            "input channel of a regular kernel within its group, from 0; 0 for a depthwise one",
        ),
        Column("stride", "int16", "stride of the convolution; null where only tensors are known", "pixels"),
        Column("dilation", "int16", "dilation of the convolution; null where only tensors are known", "pixels"),
        Column("taps", "list of float32", "the weights, row-major, in the model's own unit"),
    ),
)

SURVEY = Table(
    "config/survey.csv",
    (
        "The timm models with depthwise kernels, one row per architecture and pretrained tag, and one row for an "
        "architecture without pretrained weights. [zoo.md](zoo.md) says how kernels are counted."
    ),
    (
        Column("family", "string", "module of timm that defines the architecture"),
        Column("architecture", "string", "name of the architecture in timm"),
        Column(
            "tag",
            "string",
            "pretrained weights; `<architecture>.<tag>` is their name in timm; null where there are none",
        ),
        Column("hub", "string", "their repository on the Hugging Face hub; null where timm has them elsewhere"),
        Column("licence", "string", "licence of the pretrained weights as timm states it; null where it states none"),
        Column("parameters", "int64", "parameters of the architecture with a head for 1,000 classes"),
        Column("layers", "int32", "depthwise layers"),
        Column("kernels", "int64", "depthwise kernels: those of the architecture, in each of its rows"),
        Column("kernels_by_size", "string", "the same by height and width, smallest first: `3x3:96 7x7:6624`"),
        Column("largest", "int16", "longest side of a depthwise kernel", "taps"),
        Column("timm", "string", "version of timm that was asked"),
    ),
)
