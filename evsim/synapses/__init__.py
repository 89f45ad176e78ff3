"""Synapses and Poisson input, sampled block by block, and as flat arrays."""
