"""Stage ``twin``: the Graph's differentiable twins, which white-box attacks climb.

In: a Graph. Out: an object that gives the interpreter's integers, and gradients straight through
its roundings: ``fixed`` and ``int8`` in float64 numpy, one for each arithmetic family, ``native``
by compiled layers where it can. ``losses`` are the functions of the scores that attacks climb.
"""
