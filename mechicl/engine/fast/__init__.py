"""The fast parts of training on a CPU: loops compiled by numba around the matmuls of a library.

    attention   attention of all heads, sixteen sequences at a time
    batch_last  embedding, LayerNorm and rotations with the batch as the last axis
    gelu        GELU's tanh form with its slope
    unembed     softmax and cross-entropy of large label tables
    adam        the optimiser's step
    lanes       sixteen numbers as one value of a compiled loop
    kernels     the loops of the forward pass

The task's written-out gradients call them (tasks/exemplar_label/fast/). All other tasks train by autograd.
"""
