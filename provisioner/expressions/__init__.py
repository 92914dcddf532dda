"""SQL expressions over columns of text, evaluated row by row by polars; pure, no I/O.

An expression comes from the settings, so it is judged before it is used: by its words (`tokens`), by polars' own tree
of it (`tree`), and by evaluating sample rows apart and together (`expression`). What is left can read no file, look
at no clock and see no other row. `evaluation` works it out over a frame whose columns are all text; a row that fails
fails alone.
"""

from provisioner.expressions.evaluation import Evaluated, evaluate, evaluate_predicate, evaluate_text, evaluate_texts
from provisioner.expressions.expression import Expression, compile_expression
from provisioner.expressions.tokens import FUNCTIONS

__all__ = [
    "FUNCTIONS",
    "Evaluated",
    "Expression",
    "compile_expression",
    "evaluate",
    "evaluate_predicate",
    "evaluate_text",
    "evaluate_texts",
]
