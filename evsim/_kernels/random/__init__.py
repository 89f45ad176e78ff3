"""Counter-based random streams, and Poisson processes."""
