"""Exemplars and labels, `x1 y1 ... xC yC xq` (Chan et al. 2022): the task of a config that names none.

task         ExemplarLabel, the task
settings     BankConfig, SequenceConfig: `Config.bank`, `Config.sequences`
banks/       exemplars `[class, exemplar, d]`: from distributions, drawings, token tables, or your own file
features/    pictures through an encoder, once, into one file that banks read
sequences    how sequences are drawn
batch        Batch: sequences, as a model reads them
readable     what such sequences must be, of those that a plugin draws
label_pairs  which classes share a label
evaluation   the evaluators' fixed sequences
embedding    how a batch enters the residual stream
scores       how answers are scored
clamped      answers and attention where parts of an induction head are clamped
training     training interventions of this task alone
fast/        gradients written out, for the CPU
relabelled   what the sequences and the label map are at a step, where training changes them
caption      the setting, in words
"""

from mechicl.tasks.exemplar_label.banks.kinds import bank as bank
