"""A script's day: parse sources, count words, build, serialise and sort."""

import ast
import collections
import json
import os
import re

STDLIB = os.path.dirname(ast.__file__)


def sources(limit):
    names = sorted(n for n in os.listdir(STDLIB) if n.endswith(".py"))
    for name in names[:limit]:
        with open(os.path.join(STDLIB, name), encoding="utf-8") as file:
            yield name, file.read()


def main():
    words = collections.Counter()
    records = []
    trees = {}
    for name, text in sources(80):
        found = re.findall(r"[A-Za-z_]\w+", text)
        words.update(found)
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                records.append({"file": name, "name": node.name,
                                "line": node.lineno, "doc":
                                ast.get_docstring(node) or ""})
        if len(text) > 40000:
            trees[name] = tree
        compile(tree, name, "exec")
    text = json.dumps(records)
    for _ in range(3):
        records = json.loads(text)
    records.sort(key=lambda record: (record["name"], record["line"]))
    index = collections.defaultdict(list)
    for record in records:
        for word in record["doc"].split():
            index[word].append(record["name"])
    print(len(trees), len(index), words.most_common(3))


if __name__ == "__main__":
    main()
