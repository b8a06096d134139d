"""The nouns that the rooms exchange: Graph, Plan, Program, Trace, Report."""
