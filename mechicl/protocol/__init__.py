"""What a task says, and nothing that needs a model: everything else in mechicl may read it.

    task.py              Task
    known.py             the tasks by name; `task_of(config)`
    batch.py             TaskBatch: what a model reads, and what is scored where
    drawn.py             whether a plugin drew a batch that a model can read
    gradients.py         how a training step comes to gradients that a task writes out
    tokens.py            what sequences of tokens share
    attention_scores.py  what scores of attention are called
    shown.py             a sequence as something to look at
    shipped.py           sequences as plain arrays, for a program without mechicl

The tasks themselves are in mechicl/tasks/.
"""
