"""Neural Echos, reproduced."""
