"""Silicon: published measurements of real chips, and how far our numbers are from them.

In:       measurements files (docs/measurements.md has the schema), the catalog of chips, the zoo.
Out:      errors per group beside two baselines (`onchip validate`), and the page that shows them.
Promises: a row is predicted from the chip file and the row's own parameters, or refused with a reason; nothing is
          fitted here.
"""
