"""Standard networks as Graph builders: no torch, nothing downloaded."""
