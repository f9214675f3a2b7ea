# SPDX-License-Identifier: Apache-2.0
"""A reader of C good enough for scripts/check: it blanks comments and literals, and finds
functions, prototypes, parameters, nesting and gotos. It expects code that clang-format has laid
out (a function's braces in the first column), and never tries to understand macros."""

import re

CONTROL = {"if", "for", "while", "switch"}
TOKEN = re.compile(r"[A-Za-z_]\w*|\S")
LITERAL = re.compile(
    r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)


def blank(text, keep_comments=False):
    """The text with comments and literals as spaces; lines and columns stay."""
    def spaces(match):
        found = match.group(0)
        if keep_comments and found[0] == "/":
            return found
        if found[0] in "\"'":
            return found[0] + " " * (len(found) - 2) + found[-1]
        return re.sub(r"[^\n]", " ", found)
    return LITERAL.sub(spaces, text)


def comments_only(text):
    """The text with everything but comments as spaces."""
    out = []
    at = 0
    for match in LITERAL.finditer(text):
        out.append(re.sub(r"[^\n]", " ", text[at:match.start()]))
        found = match.group(0)
        out.append(found if found[0] == "/" else re.sub(r"[^\n]", " ", found))
        at = match.end()
    out.append(re.sub(r"[^\n]", " ", text[at:]))
    return "".join(out)


def drop_directives(code):
    """Blanked code without preprocessor lines (continued ones too)."""
    lines = code.split("\n")
    out = []
    inside = False
    for line in lines:
        if inside or line.lstrip().startswith("#"):
            inside = line.rstrip().endswith("\\")
            out.append("")
        else:
            out.append(line)
    return "\n".join(out)


def split_parameters(text):
    """How many parameters a list like 'int a, void (*f)(int, int)' has."""
    text = text.strip()
    if text in ("", "void"):
        return 0
    depth = 0
    count = 1
    for char in text:
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            count += 1
    return count


class Declaration:
    """A function's definition or prototype: name, first line, parameters, body (tokens)."""

    def __init__(self, name, line, parameters, is_static):
        self.name = name
        self.line = line
        self.parameters = parameters
        self.is_static = is_static
        self.foreign = False  # another library calls it, and says what it is given
        self.end = line
        self.body = None
        self.body_line = line


def head_of(text, line):
    """Reads 'static int f(int a) attributes' into a Declaration, or None."""
    plain = re.sub(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)", "", text)
    plain = re.sub(r"\b(?:_Alignas|_Static_assert)\s*\([^()]*\)", "", plain)
    match = re.match(r"[\w\s*]*?\b([A-Za-z_]\w*)\s*\(", plain)
    if not match or "=" in plain[:match.end()]:
        return None
    name = match.group(1)
    before = plain[:match.start(1)].strip()
    if not before or re.match(r"(typedef|return|else|do)\b", before) or before == "extern":
        return None
    depth = 0
    for at in range(match.end() - 1, len(plain)):
        depth += {"(": 1, ")": -1}.get(plain[at], 0)
        if depth == 0:
            inner = plain[match.end():at]
            found = Declaration(name, line, split_parameters(inner), before.startswith("static"))
            found.foreign = bool(re.match(r"\s*(nghttp2_session|SSL) *\*", inner))
            return found
    return None


def declarations(code):
    """All functions and prototypes at file level, in order. code: blanked."""
    lines = drop_directives(code).split("\n")
    found = []
    text = ""
    first = 0
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if line.startswith("}"):
            text = ""
            continue
        if not text and not line.strip():
            continue
        if not text and re.match(r'extern\s+"[^"]*"\s*\{', line):
            continue
        if line == "{":
            decl = head_of(text, first)
            end = number
            while end < len(lines) and not lines[end].startswith("}"):
                end += 1
            if decl:
                decl.end = end + 1
                decl.body_line = number + 1
                decl.body = "\n".join(lines[number:end])
                found.append(decl)
            number = end + 1
            text = ""
            continue
        if not text:
            first = number
        text += line + "\n"
        if line.rstrip().endswith("{"):  # struct, enum, table: skip to its end
            while number < len(lines) and not lines[number].startswith("}"):
                number += 1
            continue
        if line.rstrip().endswith(";"):
            decl = head_of(text, first)
            if decl:
                decl.end = number
                found.append(decl)
            text = ""
    return found


class Nesting:
    """Counts how deep control statements are nested in a body, with or without braces."""

    def __init__(self, body):
        self.tokens = TOKEN.findall(drop_directives(body))
        self.at = 0
        self.deepest = 0

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def skip_parens(self):
        depth = 0
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            depth += (token == "(") - (token == ")")
            if depth == 0:
                return

    def block(self, depth):
        self.at += 1
        while self.peek() not in ("}", None):
            self.statement(depth)
        self.at += 1

    def statement(self, depth):
        self.deepest = max(self.deepest, depth)
        token = self.peek()
        if token == "{":
            self.block(depth)
        elif token in CONTROL:
            self.at += 1
            self.skip_parens()
            self.statement(depth + 1)
            while token == "if" and self.peek() == "else":
                self.at += 1
                if self.peek() == "if":
                    self.at += 1
                    self.skip_parens()
                self.statement(depth + 1)
        elif token == "do":
            self.at += 1
            self.statement(depth + 1)
            self.at += 1
            self.skip_parens()
            self.at += 1
        elif token in ("case", "default"):
            while self.peek() not in (":", None):
                self.at += 1
            self.at += 1
        else:
            self.expression(depth)

    def expression(self, depth):
        """Up to ';'; a call followed by a brace or a statement is a loop macro."""
        macro = bool(re.match(r"\w+_each\w*$", self.peek() or ""))
        if macro:
            self.at += 1
            self.skip_parens()
            self.statement(depth + 1)
            return
        level = 0
        while self.peek() is not None:
            token = self.peek()
            if level == 0 and token == "}":
                return
            self.at += 1
            if token in "([{":
                level += 1
            elif token in ")]}":
                level -= 1
            elif token == ";" and level == 0:
                return
            elif token == ":" and level == 0 and "?" not in self.tokens[self.at - 4:self.at]:
                if re.match(r"[A-Za-z_]\w*$", self.tokens[self.at - 2]) and (
                        self.at < 3 or self.tokens[self.at - 3] in (";", "{", "}", ":")):
                    return  # a label


def nesting(body):
    """Deepest nesting of control statements in a function's body."""
    walk = Nesting(body)
    while walk.peek() is not None:
        before = walk.at
        walk.statement(0)
        if walk.at == before:
            walk.at += 1
    return walk.deepest


def gotos(body):
    """([(line offset, label)], {label: line offset}) of a function's body."""
    jumps = []
    labels = {}
    for number, line in enumerate(body.split("\n")):
        for match in re.finditer(r"\bgoto\s+(\w+)", line):
            jumps.append((number, match.group(1)))
        match = re.match(r"\s*([A-Za-z_]\w*)\s*:(?!:)\s*(?:\{|;|$)", line)
        if match and match.group(1) != "default":
            labels[match.group(1)] = number
    return jumps, labels
