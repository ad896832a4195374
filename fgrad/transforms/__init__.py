"""Functions of functions: gradients, graphs and the other transforms, one file each."""
