"""Training: epochs, optimisers, regularisers, calibration."""
