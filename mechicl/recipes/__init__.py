"""Recipes: a run is a function that returns a full Config.

The docstring says what the run reproduces and how long it takes on two laptop cores. Make
your own with `dataclasses.replace(recipes.demo(), ...)`, or write a function.
"""

from mechicl.recipes.door import RECIPES as RECIPES
from mechicl.recipes.door import get as get
from mechicl.recipes.door import recipe as recipe
from mechicl.recipes.exemplar_label import coopetition as coopetition
from mechicl.recipes.exemplar_label import coopetition_gaussian as coopetition_gaussian
from mechicl.recipes.exemplar_label import demo as demo
from mechicl.recipes.exemplar_label import demo_small as demo_small
from mechicl.recipes.exemplar_label import induction_2024 as induction_2024
from mechicl.recipes.exemplar_label import iwl as iwl
from mechicl.recipes.exemplar_label import llama_tokens as llama_tokens
from mechicl.recipes.exemplar_label import omniglot_conv as omniglot_conv
from mechicl.recipes.exemplar_label import omniglot_small as omniglot_small
from mechicl.recipes.exemplar_label import persistent as persistent
from mechicl.recipes.exemplar_label import transience_2023 as transience_2023
from mechicl.recipes.tokens import markov as markov
from mechicl.recipes.tokens import text_small as text_small
