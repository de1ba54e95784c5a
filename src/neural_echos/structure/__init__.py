"""Structure: find what kernels have in common with k-means and an autoencoder, compared with shuffled taps."""
