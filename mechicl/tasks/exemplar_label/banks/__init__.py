"""Exemplars `[class, exemplar, d]`.

bank      Bank: the exemplars, their labels, and sequences drawn over them
build     the bank of a run, by its kind
kinds     the door: which kinds there are
gaussian  Gaussian clusters
omniglot  drawings of characters
features  a file of features, or your own array
tokens    a table of token embeddings
shaping   scale, centring, spread
"""
