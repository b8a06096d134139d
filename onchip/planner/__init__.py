"""Graph x Chip -> Plan: group nodes into kernels, choose their tiles, give every buffer and tensor a place."""
