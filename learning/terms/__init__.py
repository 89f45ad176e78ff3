"""What the rules are made of: slopes of counts and rates, learning signals, traces; one file an idea."""
