"""Where a series' checkpoints come from, when mechicl did not train it.

    base.py         what a source is, and how one of yours is registered
    trainer.py      folders of Hugging Face's Trainer: checkpoint-500/, checkpoint-1000/, ...
    files.py        a folder of safetensors or state dicts, a file for each step
    hub.py          revisions on the Hugging Face hub: hub:USER/NAME@step*
    published.py    series that `mechicl publish` put there: hub:USER/NAME
    hub_api.py      what is asked of the hub, and its errors in words
    hub_cache.py    its files on this machine, within a budget
    layouts.py      whose names tensors have: transformers', TransformerLens', nanoGPT's
    transformers.py models of `transformers` as HookedTransformers
    foreign.py      whether a place is of other software, or a run of mechicl that needs no opening
    reading.py      one checkpoint's weights, wherever its files lie
    opening.py      a source as a series
    record.py       what the manifest says of a source
    odd.py          what is odd about a series that somebody else made

`mechicl open SOURCE --out DIR`, or `mechicl.open_series(SOURCE)`, makes a light series: a run's directory whose index
names files that stay where they are.
"""
