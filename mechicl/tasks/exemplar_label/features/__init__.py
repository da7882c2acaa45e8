"""Banks of features: pictures through an encoder, once, into one file that runs read.

images.py    folders of pictures, or Omniglot with its flips and turns, as classes of equal size
encoders.py  picture -> features: an ImageNet network, pixels, principal components, your own function
extract.py   the loop between them: batched, resumable, with what made the file inside it
file.py      the file: features in half precision, names, small pictures, provenance, sha256
own.py       a file from your own array
"""
