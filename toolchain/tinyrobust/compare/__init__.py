"""Stage ``compare``: several models under the same attacks.

In: a ``suite`` (or models and attacks by name). Out: a comparison with its journal, which resumes:
``comparison`` runs it, ``comparison_figures`` makes its figures, ``model_costs`` adds memory and
instructions of each model on a board.
"""
