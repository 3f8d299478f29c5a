"""Any model of Potstill as a model of another library: one module for each.

Import from the module, such as ``from potstill.adapters.gluonts import PotstillPredictor``. A library that is not
installed gives a UserError with the command that installs it.
"""
