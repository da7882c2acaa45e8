"""Gradients written out for the task of exemplars and labels, on the CPU; all else trains by autograd.

    gradients   forward and backward of a step, in turn
    placed      which sequences share an exemplar's embedding
    batch_last  attention of all heads with the batch as the last axis
    unembed     softmax and cross-entropy of large label tables
    adam        the optimiser's step
    kernels     the loops under all of these, compiled by numba
"""
