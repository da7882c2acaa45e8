"""The fast parts of training on a CPU: loops compiled by numba around the matmuls of a library.

    batch_last  attention of all heads with the batch as the last axis
    unembed     softmax and cross-entropy of large label tables
    adam        the optimiser's step
    kernels     the loops under these

The task's written-out gradients call them (tasks/exemplar_label/fast/). All other tasks train by autograd.
"""
