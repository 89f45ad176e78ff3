"""What TSSL-BP is made of."""
