"""Interventions on a model, as data: printable, and saved with the result.

    heads      AblateHeads: heads' outputs replaced, with parts of later layers held. Sets of heads
    mlps       AblateMLPs: the same for MLPs
    paths      RemoveDirectPath, only_direct_path: the embed-unembed path
    attention  ClampMatch, Temper: where the query attends, and how sharply
    edges      CutEdges: attention from one role to another
    cut_paths  CutPaths: paths from one component to another; components: the components of a model and their paths
    clamps     ClampLayer, ClampCopy: a perfect first layer, a perfect copy
    subspaces  AblateSubspace: directions removed from the residual stream
    weights    Graft: parts of the weights taken from another checkpoint
    positions  AblatePositions: the input of layers replaced at some positions
    patching   PatchActivations: activations taken from counterfactual sequences
    together   Together: several at once
    door       `intervention`: registers your own under a name
    base       Intervention, the protocol of all of them and their controls; `edits`, many conditions in one pass
    baselines  the replacements of an output; others: the candidates for controls
    apply      `apply`: runs a model under interventions; `intact` and `under`, its two parts

docs/interventions.md has an example of each, and of one of your own.
"""

from mechicl.interventions.apply import Intact as Intact
from mechicl.interventions.apply import apply as apply
from mechicl.interventions.apply import intact as intact
from mechicl.interventions.apply import under as under
from mechicl.interventions.attention import ClampMatch as ClampMatch
from mechicl.interventions.attention import Temper as Temper
from mechicl.interventions.base import Intervention as Intervention
from mechicl.interventions.base import as_interventions as as_interventions
from mechicl.interventions.baselines import BASELINES as BASELINES
from mechicl.interventions.baselines import Kind as Kind
from mechicl.interventions.clamps import ClampCopy as ClampCopy
from mechicl.interventions.clamps import ClampLayer as ClampLayer
from mechicl.interventions.components import every_path as every_path
from mechicl.interventions.cut_paths import CutPaths as CutPaths
from mechicl.interventions.door import intervention as intervention
from mechicl.interventions.edges import CutEdges as CutEdges
from mechicl.interventions.heads import AblateHeads as AblateHeads
from mechicl.interventions.heads import every_head as every_head
from mechicl.interventions.heads import matched_heads as matched_heads
from mechicl.interventions.heads import matched_sets as matched_sets
from mechicl.interventions.heads import needs as needs
from mechicl.interventions.heads import only_head as only_head
from mechicl.interventions.heads import random_heads as random_heads
from mechicl.interventions.mlps import AblateMLPs as AblateMLPs
from mechicl.interventions.one_pass import edits as edits
from mechicl.interventions.patching import PatchActivations as PatchActivations
from mechicl.interventions.paths import RemoveDirectPath as RemoveDirectPath
from mechicl.interventions.paths import only_direct_path as only_direct_path
from mechicl.interventions.positions import AblatePositions as AblatePositions
from mechicl.interventions.subspaces import AblateSubspace as AblateSubspace
from mechicl.interventions.together import Together as Together
from mechicl.interventions.weights import Graft as Graft
