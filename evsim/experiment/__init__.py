"""What an experiment is made of: rules, losses, options, presets. Returns values, prints nothing."""
