"""What code asks of TensorRT's objects where a version has these names and no others.

The code is walked as it would run: of `if hasattr(config, "x")` that branch alone which this version takes, and nothing
behind a branch that leaves. An object is known by what its variable is called, or by the call that made it.
"""

import ast

# Variables and attributes of self -> class.
OBJECTS = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "refusal": "ParserError",
    "optimization": "IOptimizationProfile",
    "tensor": "ITensor",
    "layer": "ILayer",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "runtime": "Runtime",
    "_runtime": "Runtime",
    "_engine": "ICudaEngine",
    "_context": "IExecutionContext",
}
# Methods that return an object.
MAKERS = {
    "create_network": "INetworkDefinition",
    "create_builder_config": "IBuilderConfig",
    "create_optimization_profile": "IOptimizationProfile",
    "create_execution_context": "IExecutionContext",
    "deserialize_cuda_engine": "ICudaEngine",
    "build_engine": "ICudaEngine",
    "get_input": "ITensor",
    "get_output": "ITensor",
    "get_layer": "ILayer",
    "get_error": "ParserError",
}
MODULE = "trt"


class Reach(ast.NodeVisitor):
    """What is asked for of one version, and what of it is not there.

    Attributes:
        asked: set of "Class.name", or of a name of the module.
        missing: those that the version has not.
    """

    def __init__(self, api):
        self.api, self.asked, self.missing = api, set(), set()

    def names(self, kind):
        """Return what a class or an enumeration has."""
        return {*self.api["classes"].get(kind, ()), *self.api["enums"].get(kind, ())}

    def kind(self, node):
        """Return the class of an expression: of an object of TensorRT, or a class itself; None of anything else."""
        if isinstance(node, ast.Name):
            return OBJECTS.get(node.id)
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == MODULE:
                return node.attr
            return OBJECTS.get(node.attr) if isinstance(node.value, ast.Name) and node.value.id == "self" else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if isinstance(node.func.value, ast.Name) and node.func.value.id == MODULE:
                return node.func.attr
            return MAKERS.get(node.func.attr) if self.kind(node.func.value) else None
        return None

    def truth(self, test):
        """Return whether a condition holds in this version; None where that is not a question of the version alone."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            held = self.truth(test.operand)
            return None if held is None else not held
        if isinstance(test, ast.BoolOp):
            ends = isinstance(test.op, ast.Or)  # what ends it: a true one of these, a false one of those joined by and
            held = [self.truth(value) for value in test.values]
            return ends if ends in held else None if None in held else not ends
        if isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id == "hasattr":
            owner, name = test.args
            kind = self.kind(owner)
            assert kind, f"line {test.lineno}: of what class is {ast.unparse(owner)}?"
            return name.value in self.names(kind)
        return None

    def visit_Attribute(self, node):
        if isinstance(node.value, ast.Name) and node.value.id == MODULE:
            self._ask(node.attr, node.attr in self.api["names"])
        elif kind := self.kind(node.value):
            self._ask(f"{kind}.{node.attr}", node.attr in self.names(kind))
        self.generic_visit(node)

    def _ask(self, name, there):
        if not name.endswith("__"):  # what Python itself brings
            self.asked.add(name)
            self.missing.update(set() if there else {name})

    def visit_Call(self, node):
        if self.truth(node) is None:  # hasattr asks for nothing
            self.generic_visit(node)

    def visit_BoolOp(self, node):
        for value in node.values:
            self.visit(value)
            if self.truth(value) is isinstance(node.op, ast.Or):
                return

    def visit_IfExp(self, node):
        self.visit(node.test)
        held = self.truth(node.test)
        for branch, way in ((node.body, True), (node.orelse, False)):
            if held in (None, way):
                self.visit(branch)

    def visit_Assign(self, node):
        kind = self.kind(node.value)
        if kind and isinstance(node.value, ast.Call):
            for target in node.targets:
                assert self.kind(target) == kind, f"line {node.lineno}: {ast.unparse(target)} is called like no {kind}"
        self.generic_visit(node)

    def visit_FunctionDef(self, node):
        self._block(node.body)

    def _block(self, statements):
        """Visit statements until one leaves; return whether one does."""
        for statement in statements:
            if isinstance(statement, ast.If):
                self.visit(statement.test)
                held = self.truth(statement.test)
                taken = [
                    branch for branch, way in ((statement.body, True), (statement.orelse, False)) if held in (None, way)
                ]
                if all([self._block(branch) for branch in taken]):
                    return True
            else:
                self.visit(statement)
                if isinstance(statement, ast.Return | ast.Raise):
                    return True
        return False

    def visit_If(self, node):
        self._block([node])
