"""Structure: what kernels have in common, by k-means, by an autoencoder, and against shuffled taps."""
