"""What a user declares: values only, no kernels."""
