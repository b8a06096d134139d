"""Program -> Trace: values bit for bit, cycles by events, energy from counts."""
