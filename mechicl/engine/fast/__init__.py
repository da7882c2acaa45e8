"""The quick parts of training on a CPU: loops compiled by numba around oneDNN's matmuls.

    batch_last  attention of all heads with the batch as the last axis
    unembed     softmax and cross-entropy of large label tables
    adam        the optimiser's step
    kernels     the loops under these

The written-out gradients that call them are of the task (tasks/exemplar_label/fast/); all else trains by autograd.
"""
