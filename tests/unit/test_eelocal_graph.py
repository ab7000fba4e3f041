"""Expression graphs: what is evaluated, and that every malformed one is an error with a sentence."""

import time

import pytest

from eelocal.assets import Assets
from eelocal.encode import encode
from eelocal.errors import EarthEngineError
from eelocal.evaluation import Evaluation, evaluating
from eelocal.graph import MAX_DEPTH, Graph


def run(expression):
    with evaluating(Evaluation(Assets(), time.monotonic() + 20)):
        return encode(Graph(expression).evaluate())


def call(name, **arguments):
    return {"functionInvocationValue": {"functionName": name, "arguments": arguments}}


def constant(value):
    return {"constantValue": value}


def whole(node, **values):
    return {"result": "0", "values": {"0": node, **values}}


def test_constants_come_as_lists_or_as_arrays_of_references():
    array = {"arrayValue": {"values": [{"valueReference": "1"}, constant(3)]}}
    assert run(whole(array, **{"1": constant(2)})) == [2, 3]
    assert run(whole(constant([2, 3]))) == [2, 3]


def test_integer_value_keeps_all_digits():
    assert run(whole({"integerValue": "9007199254740993"})) == 9007199254740993


def test_whole_floats_are_written_as_integers():
    assert run(whole(call("Number.add", left=constant(1.5), right=constant(0.5)))) == 2


def test_function_sees_arguments_of_functions_around_it():
    # list.map(x -> list.map(y -> x * 10 + y))
    inner = {"functionDefinitionValue": {"argumentNames": ["y"], "body": "sum"}}
    outer = {"functionDefinitionValue": {"argumentNames": ["x"], "body": "row"}}
    tens = call("Number.multiply", left={"argumentReference": "x"}, right=constant(10))
    values = {
        "sum": call("Number.add", left=tens, right={"argumentReference": "y"}),
        "row": call("List.map", list=constant([1, 2]), baseAlgorithm=inner),
    }
    assert run(whole(call("List.map", list=constant([1, 2]), baseAlgorithm=outer), **values)) == [[11, 12], [21, 22]]


def test_shared_node_that_depends_on_no_argument_is_computed_once(monkeypatch):
    calls = []
    from eelocal.registry import registry

    kind = type(registry()["List.repeat"])
    real = kind.call
    monkeypatch.setattr(kind, "call", lambda self, thunks: calls.append(self) or real(self, thunks))
    shared = {"1": call("List.repeat", value=constant(1), count=constant(2))}
    both = call("List.cat", list={"valueReference": "1"}, other={"valueReference": "1"})
    assert run(whole(both, **shared)) == [1, 1, 1, 1]
    assert [c.signature.name for c in calls].count("List.repeat") == 1


def test_only_the_branch_taken_by_if_is_evaluated():
    broken = call("Image.load", id=constant("no/such/asset"))
    assert run(whole(call("If", condition=constant(1), trueCase=constant(5), falseCase=broken))) == 5


def deep(levels):
    node = constant(0)
    for _ in range(levels):
        node = call("Number.add", left=node, right=constant(1))
    return node


def test_a_thousand_nested_operations_are_evaluated():
    import sys

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        assert run(whole(deep(1000))) == 1000
    finally:
        sys.setrecursionlimit(before)


CYCLE = {"result": "a", "values": {"a": {"valueReference": "b"}, "b": {"valueReference": "a"}}}
FUNCTION_CYCLE = {
    "result": "a",
    "values": {"a": {"functionDefinitionValue": {"argumentNames": [], "body": "b"}}, "b": {"valueReference": "a"}},
}
MALFORMED = [
    (None, "must be an object with 'result'"),
    ([], "must be an object with 'result'"),
    ({}, "must have 'values'"),
    ({"result": "0"}, "must have 'values'"),
    ({"result": 0, "values": {}}, "'result', a key"),
    ({"result": "0", "values": {}}, "'0', which is not among its values"),
    ({"result": "0", "values": {"0": {"valueReference": "9"}}}, "'9', which is not among its values"),
    (CYCLE, "has a cycle"),
    (FUNCTION_CYCLE, "has a cycle"),
    (whole({}), "exactly one member"),
    (whole({"constantValue": 1, "integerValue": "1"}), "exactly one member"),
    (whole(5), "exactly one member"),
    (whole(None), "exactly one member"),
    (whole({"noSuchKind": 1}), "Unknown kind of value 'noSuchKind'"),
    (whole({"valueReference": 5}), "Malformed valueReference"),
    (whole({"argumentReference": ["x"]}), "Malformed argumentReference"),
    (whole({"argumentReference": "x"}), "'x' is not an argument of an enclosing function"),
    (whole({"integerValue": "abc"}), "Malformed integerValue"),
    (whole({"integerValue": "9" * 40}), "Malformed integerValue"),
    (whole({"functionInvocationValue": {}}), "Malformed functionInvocationValue"),
    (whole({"functionInvocationValue": {"functionName": 5}}), "Malformed functionInvocationValue"),
    (whole({"functionInvocationValue": {"functionName": "Number.add", "arguments": []}}), "Malformed"),
    (whole({"functionInvocationValue": {"functionReference": "9"}}), "'9', which is not among its values"),
    (whole({"functionInvocationValue": {"functionReference": "1"}}, **{"1": constant(4)}), "is not a function"),
    (whole({"functionDefinitionValue": {"argumentNames": "x", "body": "0"}}), "Malformed functionDefinitionValue"),
    (whole({"functionDefinitionValue": {"argumentNames": []}}), "Malformed functionDefinitionValue"),
    (whole({"arrayValue": {"values": 5}}), "Malformed arrayValue"),
    (whole({"dictionaryValue": {"values": [1]}}), "Malformed dictionaryValue"),
    (whole(call("No.such")), "Unknown algorithm 'No.such'"),
    (whole(call("Classifier.smileCart", image=constant(1))), "exists in Earth Engine but is not implemented"),
    (whole(call("Number.add", left=constant(1))), "Number.add: Parameter 'right' is required"),
    (whole(call("Number.add", left=constant(1), rigth=constant(1))), "Unrecognized argument 'rigth'"),
    (whole(call("Number.add", left=constant("a"), right=constant(1))), "argument 'left': Invalid type"),
    (whole(call("Image.select", input=constant("x"), bandSelectors=constant([0]))), "Expected type: Image"),
    (whole(call("List.sequence", start=constant(0), end=constant(1e15))), "A list may have up to"),
    (whole(call("List.repeat", value=constant(0), count=constant(10**12))), "A list may have up to"),
    (whole(call("Projection", crs=constant("EPSG:99999999"))), "could not be parsed"),
    (whole(call("GeometryConstructors.Point", coordinates=constant([1]))), "list of two numbers"),
    (whole(call("GeometryConstructors.Polygon", coordinates=constant([[[0, 0], [1, 1]]]))), "Invalid geometry"),
    (whole(call("String.match", input=constant("a" * 40), regex=constant("(a+)+$"))), "Invalid regular expression"),
    (whole(call("Filter.eq", leftField=constant("a"))), "exactly one of rightField and rightValue"),
    (whole(deep(10_000)), f"nested too deeply: more than {MAX_DEPTH}"),
    (whole(call("Date.parse", format=constant("QQ"), date=constant("x"))), "Illegal pattern component"),
    (whole(call("Number.parse", input=constant("x"))), "Cannot parse"),
    (whole(call("Image.constant", value=constant({"a": 1}))), "must be numbers"),
]


@pytest.mark.parametrize(("expression", "sentence"), MALFORMED)
def test_malformed_graph_is_an_error_with_a_sentence(expression, sentence):
    start = time.monotonic()
    with pytest.raises(EarthEngineError) as caught:
        run(expression)
    assert sentence in caught.value.message
    assert caught.value.code == 400
    assert time.monotonic() - start < 5


def test_wide_chain_of_references_is_deep_as_well():
    values = {str(i): {"valueReference": str(i + 1)} for i in range(10_000)}
    with pytest.raises(EarthEngineError, match="nested too deeply"):
        run({"result": "0", "values": {**values, "10000": constant(1)}})
