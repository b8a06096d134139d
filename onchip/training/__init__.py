"""Training: the demo networks, the data they learn, and the loop that trains them (PyTorch extra)."""
