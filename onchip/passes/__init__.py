"""Graph -> Graph: fold, quantize, cast."""
