"""Indices as bands: a formula over a scene's own bands, worked out on Earth Engine's side."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

import ee
import numpy as np

from eeflow.errors import ConfigError

_MAX_LENGTH = 1000
_MOST = float(np.finfo(np.float32).max)
_OPERATIONS: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.Pow: "pow",
}
_ALLOWED = "band names, numbers, + - * / ** and normalized_difference(A, B)"


@dataclass(frozen=True)
class Index:
    """A band that is worked out from others.

    Attributes:
        name: of the band.
        formula: over names of bands.
        scaling: (band, scale, offset) of the bands that the formula takes as physical values; the others are taken as
            they are stored.
    """

    name: str
    formula: str
    scaling: tuple[tuple[str, float, float], ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the bands it needs, in the formula's order."""
        names = (node for node in ast.walk(_parse(self.name, self.formula)) if isinstance(node, ast.Name))
        ordered = sorted(names, key=lambda node: (node.lineno, node.col_offset))
        return tuple(dict.fromkeys(node.id for node in ordered if node.id != "normalized_difference"))

    def image(self, source: ee.Image) -> ee.Image:
        """The index of a scene, one band of 32-bit floats; masked where it is no finite number.

        Numbers are doubles until then, so that products of whole numbers never overflow. As Earth Engine has it,
        dividing by 0 gives 0, and `normalized_difference` is masked where one of its two is negative.
        """
        scaling = {band: (scale, offset) for band, scale, offset in self.scaling}

        def band(name: str) -> ee.Image:
            scale, offset = scaling.get(name, (1.0, 0.0))
            image = source.select([name]).toDouble()
            image = image.multiply(scale) if scale != 1 else image
            return image.add(offset) if offset else image

        def work_out(node: ast.expr) -> ee.Image:
            if isinstance(node, ast.BinOp):
                return getattr(work_out(node.left), _OPERATIONS[type(node.op)])(work_out(node.right))
            if isinstance(node, ast.UnaryOp):
                return work_out(node.operand).multiply(-1)
            if isinstance(node, ast.Call):
                pair = [work_out(argument).rename([name]) for name, argument in zip("ab", node.args, strict=True)]
                return pair[0].addBands(pair[1]).normalizedDifference(["a", "b"])
            if isinstance(node, ast.Constant):
                return ee.Image.constant(node.value)
            assert isinstance(node, ast.Name)  # _parse allows nothing else
            return band(node.id)

        index = work_out(_parse(self.name, self.formula)).toFloat().rename([self.name])
        return index.updateMask(index.abs().lte(_MOST))


def parse_index(text: str) -> Index | None:
    """The index of `NAME = formula`; None for a text that is no formula, such as a band's name.

    Raises:
        ConfigError: the name or the formula cannot be.
    """
    name, separator, formula = (part.strip() for part in text.partition("="))
    if not separator:
        return None
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ConfigError(f"bands has {text!r}; an index's name is letters, digits and underscores, such as NDVI.")
    index = Index(name, formula)
    if not index.inputs:
        raise ConfigError(f"bands has {text!r}, whose formula names no band.")
    return index


def named_index(name: str, bands: Mapping[str, str], scaling: Mapping[str, tuple[float, float]] | None) -> Index | None:
    """The index that goes by this name in the list of Awesome Spectral Indices; None where there is none.

    Its formula is over reflectances, so bands are scaled first. https://awesome-ee-spectral-indices.readthedocs.io

    Args:
        name: such as NDVI.
        bands: the collection's bands by their common names there: B, G, R, RE1, N, S1, ...
        scaling: scale and offset by band; None where the collection's are not known.

    Raises:
        ConfigError: the collection lacks a band that the formula needs, or it is not known which is which.
    """
    import spyndex  # noqa: PLC0415  a table of 280 indices, read only when one is asked for

    if name not in spyndex.indices:
        return None
    formula = spyndex.indices[name].formula
    constants = {key: spyndex.constants[key].default for key in spyndex.constants}
    needed = [node.id for node in ast.walk(_parse(name, formula)) if isinstance(node, ast.Name)]
    variables = [variable for variable in needed if variable not in constants or variable in bands]
    lacking = [variable for variable in variables if variable not in bands]
    if lacking or scaling is None:
        known = f"of which {', '.join(lacking)} are not known here" if lacking else "and its scale is not known here"
        raise ConfigError(
            f"bands has the index {name} = {formula}, {known}. Give a formula over the collection's own bands: "
            f"`{name} = ...`."
        )
    values: dict[str, ast.expr] = {variable: ast.Name(bands[variable]) for variable in variables}
    values |= {key: ast.Constant(float(constants[key])) for key in set(needed) - set(variables)}
    tree = _Replace(values).visit(_parse(name, formula))
    inputs = dict.fromkeys(bands[variable] for variable in variables)
    return Index(name, ast.unparse(tree), tuple((band, *scaling.get(band, (1.0, 0.0))) for band in inputs))


class _Replace(ast.NodeTransformer):
    def __init__(self, values: Mapping[str, ast.expr]):
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.values.get(node.id, node)


def _parse(name: str, formula: str) -> ast.expr:
    try:
        tree = ast.parse(formula, mode="eval").body if len(formula) <= _MAX_LENGTH else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    if tree is None or not _is_allowed(tree):
        raise ConfigError(f"bands has {name} = {formula!r}, which is no formula of {_ALLOWED}.")
    return tree


def _is_allowed(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return type(node.op) in _OPERATIONS and _is_allowed(node.left) and _is_allowed(node.right)
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub) and _is_allowed(node.operand)
    if isinstance(node, ast.Call):
        known = isinstance(node.func, ast.Name) and node.func.id == "normalized_difference"
        return known and len(node.args) == 2 and not node.keywords and all(map(_is_allowed, node.args))
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and not isinstance(node.value, bool)
    return isinstance(node, ast.Name)
