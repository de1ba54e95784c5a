"""Transfer: what becomes of trained networks whose kernels are replaced, taken away or set to zero."""
