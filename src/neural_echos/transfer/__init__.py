"""Transfer: replace, eliminate or zero the kernels of trained networks, and measure the effect."""
