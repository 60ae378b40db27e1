"""What the learned router takes from the pretrained trunk."""
