"""What rate-based backpropagation is made of."""
