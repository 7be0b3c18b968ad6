#!/usr/bin/env python3
"""Rendered chats beside transformers' apply_chat_template, live: templates/ holds templates written for this test that do what
those of well-known families do, SNIPPETS single features of the language. Every one of them renders, on both sides, but for
what REFUSED names.

    chat_template_test.py ORACLE MODEL
    chat_template_test.py ORACLE MODEL --templates FOLDER    templates of others (*.jinja): counts of what came out; chats that
                                                             both sides refuse are no difference
"""
import argparse
import os
import sys
from collections import Counter
from multiprocessing import Pool
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
from transformers import AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parent))
from chat_cases import CHATS, FLAGS, TOOLS, VARIABLES
from tokenize_support import Oracle

SNIPPETS = {
    "values": "{{ true }} {{ none }} {{ 1.0 }} {{ 1e30 }} {{ 12345678901234567890 }} {{ [1, 'a', None, True, 2.50, ['x\\n']] }} {{ {'a': 'it\\'s', 'b': [\"q\"]} }}",
    "undefined": "[{{ nothing }}][{{ nothing is defined }}][{{ nothing or 'x' }}]{% for x in nothing %}{% endfor %}[{{ nothing|length }}]",
    "attribute of undefined": "{{ nothing.more }}",
    "missing key": "[{{ messages[0].nokey }}][{{ messages[0]['nokey'] is defined }}]",
    "slices": "{{ messages[1:]|length }} {{ 'abcdef'[1:-1] }} {{ 'abcdef'[::-1] }} {{ [1,2,3,4][-2:] }} {{ messages[-1].role }}",
    "methods": "{{ ' a b '.strip() }}|{{ 'a,b,c'.split(',', 1) }}|{{ 'Ab'.upper() ~ 'Ab'.lower() }}|{{ 'a b'.title() }}|{{ 'x'.join(['a','b']) }}|{{ 'abcabc'.replace('b', 'X', 1) }}|{{ 'hello'.find('l') }}|{{ 'a b  c'.split() }}",
    "more methods": "{{ 'abc'.removeprefix('a').removesuffix('c') }}|{{ 'a.b.c'.rsplit('.', 1) }}|{{ 'aXbX'.count('X') }}|{{ 'abc'.startswith(('x', 'a')) }}|{{ 'a\\nb'.splitlines() }}|{{ 'abc'.capitalize() }}|{{ '12'.isdigit() }}|{{ '{} {}'.format('a', 1) }}",
    "dict": "{% set d = {'b': 1, 'a': 2} %}{{ d.keys()|list }} {{ d.values()|list }} {{ d.get('z', 'no') }} {% for k, v in d|dictsort %}{{ k }}{% endfor %} {{ d['a'] }} {{ 'b' in d }} {{ dict(x=1) }} {% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "filters": "{{ [3,1,2]|sort }} {{ [1,2]|first }}{{ [1,2]|last }} {{ 'a'|default('b') }} {{ ''|default('b', true) }} {{ [1,2,3]|join('-') }} {{ messages|map(attribute='role')|join(',') }} {{ messages|selectattr('role','equalto','user')|list|length }} {{ ' x '|trim }} {{ 'x'|upper }} {{ 3.7|int }} {{ '5'|int + 1 }} {{ [1,2,2]|unique|list }} {{ -3|abs }} {{ 'abc'|list }} {{ [1,2]|sum }} {{ 'a b'|replace(' ', '_') }} {{ 'abc'|reverse }} {{ 'hello world'|title }} {{ [[1,2],[3]]|length }}",
    "indent": "{{ 'a\\nb\\n\\nc'|indent(2) }}|{{ 'a\\nb'|indent(2, true) }}",
    "tests": "{{ 'a' is string }} {{ {} is mapping }} {{ [] is iterable }} {{ 'a' is iterable }} {{ 'a' is sequence }} {{ {} is sequence }} {{ 1 is number }} {{ true is boolean }} {{ 1 is integer }} {{ 1.5 is float }} {{ none is none }} {{ 2 is even }} {{ 4 is divisibleby 2 }} {{ true is true }} {{ 1 is sameas 1 }} {{ 'a' in 'abc' }} {{ 1 is in [1] }}",
    "tojson": "{{ {'a': [1, 2.0, None, true, 'é\"<>&\\n\\u2028'], 'b': {}, 'c': []}|tojson }} {{ {'b':1,'a':[]}|tojson(indent=2) }} {{ {'b':1,'a':2}|tojson(sort_keys=true) }} {{ 'é'|tojson(ensure_ascii=true) }} {{ {'a':1}|tojson(separators=(',', ':')) }} {{ [1e16, 1e15, 0.0001, 1e-5, 123456.789]|tojson }}",
    "arithmetic": "{{ 7 // 2 }} {{ 7 / 2 }} {{ 4 / 2 }} {{ 2 ** 10 }} {{ -7 % 3 }} {{ 1 + 2 * 3 }} {{ 'a' * 3 }} {{ [1] + [2] }} {{ 1 < 2 <= 2 }} {{ not 1 == 2 }} {{ 5 - -3 }}",
    "loops": "{% for m in messages %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.cycle('x', 'y') }}{% if loop.previtem is defined %}<{{ loop.previtem.role }}{% endif %}{% if loop.nextitem is defined %}>{{ loop.nextitem.role }}{% endif %}{% else %}none{% endfor %}{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 4 %}{% break %}{% endif %}{{ i }}{% endfor %}{% for i in range(6, 0, -2) if i != 4 %}{{ i }}{% endfor %}",
    "scopes": "{% set x = 1 %}{% for i in [1,2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}{% set ns = namespace(a=1, b='z') %}{% for i in [1,2] %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{% if true %}{% set y = 5 %}{% endif %}{{ y }}{% with z = 3 %}{{ z }}{% endwith %}[{{ z }}]",
    "macros": "{% macro m(a, b='d', c=none) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, c=2) }}{{ m(b=1, a=2)|upper }}{% macro w() %}<{{ caller() }}>{% endmacro %}{% call w() %}in{% endcall %}",
    "blocks of text": "{% set t %}a {{ 1 + 1 }} b{% endset %}[{{ t }}]{% filter upper %}abc{% endfilter %}{% raw %}{{ no }}{% generation %}{% endraw %}{# {% generation %} #}{{ '{% generation %}' }}",
    "generation": "{% for m in messages %}{%- generation -%} {{ m.content }} {%- endgeneration -%}{% endfor %}|{% generation %}\nx\n{% endgeneration %}\ny",
    "white space": "  {% if true %}\n  a\n  {% endif %}\n\n  {{ 'b' }}  \n{%- if true -%}  c  {%- endif %}\n\td\n{%+ if true %}e{% endif %}\n",
    "conditions": "{{ 'a' if false else 'b' if false else 'c' }}[{{ 'a' if false }}]{% if messages and not tools %}1{% elif tools is none %}2{% else %}3{% endif %}{{ (1, 2)|length }}{{ 'a' if (1, 2)[0] == 1 }}",
    "unpacking": "{% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }}{% endfor %}{% set a, b = 'x', 'y' %}{{ a }}{{ b }}{% for k, v in {'a': 1}|items %}{{ k }}{{ v }}{% endfor %}",
    "raise": "{{ raise_exception('No: ' ~ messages[0].role) }}",
    "string of a value": "{{ [1, 'a']|string }}{{ none|string }}{{ true|string }}{{ 1.5|string }}{{ {'a': none}|string + '!' }}",
    "dates": "{{ strftime_now('%d %b %Y') }} {{ strftime_now('%A, %B %d, %Y') }} {{ strftime_now('%Y-%m-%d') }}",
    "special tokens": "{{ bos_token }}{{ eos_token }}[{{ unk_token }}][{{ pad_token }}]",
    "escapes": "{{ 'tab\\tnl\\nq\\'uA\\u00e9\\\\' }}{{ \"d\\\"q\" }}",
    "lists": "{{ [1,2,3]|map('string')|join }} {{ ['b','A']|sort }} {{ ['a','b']|reverse|list }} {{ range(3)|list }} {{ [1,2,3,4]|batch(2)|list }} {{ [3,1]|min }}{{ [3,1]|max }} {{ messages|rejectattr('role', 'in', ['user'])|map(attribute='role')|list }} {{ [0,1,'']|select|list }} {{ messages|groupby('role')|length }}",
    "loop over text": "{% for c in 'a\u00e9' %}[{{ c }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}]{% endfor %}{{ 'ab'|first }}{{ 'ab'|list }}{{ 'ab'|join('-') }}",
    "loops over none": "{% for x in tools %}{{ x }}{% endfor %}",
    "slices of none": "{{ tools[:] }}",
    "slices of nothing": "{{ nothing[1:] }}",
    "list of none": "{{ tools|list }}",
    "more loops": "{% for x in messages|selectattr('role', 'equalto', 'user') if x.content != 'in' %}{{ loop.index }}{{ x.role }}{% endfor %}{% for k, v in {'if': 1, 'recursive': [2]}.items() %}{{ k }}{{ v }}{% endfor %}{% for x in ['in', 'if'][:2] recursive %}{{ x }}{% endfor %}{% for a in {'in': [1, 2]}['in'] %}{{ a }}{% endfor %}{% for x in 1, 2 %}{{ x }}{% endfor %}",
    "iterators": "{% if messages|selectattr('role', 'equalto', 'none') %}true{% endif %}{% set q = messages|map(attribute='role') %}{{ q|list|length }}{{ q|list|length }}{{ q is iterable }}{{ q is sequence }}{% for x in messages|rejectattr('role', 'equalto', 'user') %}{{ loop.last }}{{ loop.length }}{% endfor %}{{ messages|map(attribute='role')|unique|join(',') }}{{ [1, 2]|reverse|first }}{{ 'user' in messages|map(attribute='role') }}{{ nothing|items|list }}",
    "iterator as JSON": "{{ messages|map(attribute='role')|tojson }}",
    "length of an iterator": "{{ messages|map(attribute='role')|length }}",
    "views": "{% set d = {'b': 1, 'a': 2} %}{{ d.keys() }}{{ d.values() }}{{ d.keys()|length }}{{ 'b' in d.keys() }}{% if {}.items() %}x{% endif %}{{ d.items()|map('first')|join }}{{ d.keys()|sort }}",
    "view as JSON": "{{ {'a': 1}.keys()|tojson }}",
    "methods of dicts": "{% set d = {'type': 'array'} %}{% set e = {'items': {'type': 'x'}} %}{{ d['items'] is defined }}{% if d['items'] %}y{% endif %}[{{ d['items']['type'] }}][{{ d[\"items\"].type }}]{{ e['items']['type'] }}[{{ e.items.type }}]{{ e.items is mapping }}{{ e['items'] is mapping }}{{ 'items' in d }}{{ d.get('items', 'no') }}{{ (e['keys'])()|list }}{% set ns = namespace(items=[1]) %}{{ ns.items }}{% set ns.items = 3 %}{{ ns.items }}{%- set x = d['items'] is defined -%}{{ x }}{{ messages[0]['items'] is defined and 'q' }}{{ \".items ['items']\" }}{{ d.copy() }}",
    "lists that grow": "{% set ns = namespace(l=[]) %}{% for m in messages %}{% set ns.l = ns.l + [m.role] %}{% endfor %}{{ ns.l }}{{ ns.l is sequence }}{{ ns.l[1:] is sequence }}{{ ns.l|tojson }}{{ ns.l.index('assistant') }}{{ ns.l.count('user') }}{{ range(3) is sequence }}{{ nothing is sequence }}",
    "title": "{{ 'doc_id x-y (z)'|title }}{{ 'doc_id it\\'s a1b'.title() }}{{ 'éCOLE'|capitalize }}{{ 'sTRASSE'.capitalize() }}",
    "white space of texts": "{{ '\\u2028\\x1f a\\x85'.strip() }}|{{ ' a\\u3000'|trim }}|{{ 'xxaxx'.strip('x') }}{{ 'xya'.lstrip('yx') }}{{ 'axy'.rstrip('xy') }}{{ 'xax'|trim('x') }}|{{ ' a  b\\x1fc '.split() }}{{ ' a  b c '.split(none, 1) }}{{ ' a b  c '.rsplit(maxsplit=1) }}{{ 'a\\x0bb\\r\\nc\\rd\\u2028e'.splitlines() }}{{ 'a\\r\\nb'.splitlines(true) }}",
    "parts of texts": "{{ 'a,b,c'.split(sep=',', maxsplit=1) }}{{ 'a,b,c'.rsplit(',') }}{{ 'a'.split(',', 0) }}{{ 'aXbXc'.rpartition('X')[0] }}{{ 'abc'.partition('Z')|list }}{{ 'éaéa'.find('a') }}{{ 'éaéa'.rfind('a') }}{{ 'éaéa'.find('a', 2) }}{{ 'abc'.count('') }}{{ 'abcabc'.count('b', 2) }}{{ 'abc'.startswith('b', 1) }}{{ 'abc'.endswith(('x', 'b'), 0, -1) }}{{ 'abc'.find('', 4) }}{{ 'aaa'|replace('a', 'b', 2) }}{{ '7'.zfill(3) }}{{ '-7'.zfill(4) }}{{ 'a'.ljust(3, '*') }}{{ 'a'.center(4, '*') }}{{ 'ab'.center(5, '*') }}{{ 'aB'.swapcase() }}",
    "kinds of texts": "{% for s in ['', 'a', 'A1', 'a b', '12', ' \\n', 'é'] %}{{ s.isdigit() }}{{ s.isalpha() }}{{ s.isalnum() }}{{ s.isspace() }}{{ s.islower() }}{{ s.isupper() }}{{ s.isnumeric() }}{{ s.isascii() }} {% endfor %}",
    "split at nothing": "{{ 'a'.split('') }}",
    "joins numbers": "{{ '-'.join([1]) }}",
    "numbers in texts": "{{ 'x'|int }}{{ 'x'|int(7) }}{{ ' 3 '|int }}{{ '3.7'|int }}{{ none|int }}{{ 'x'|float }}{{ '1e3'|float }}{{ true|int }}",
    "cycles": "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{% set j = joiner(', ') %}{{ j() }}a{{ j() }}b{{ range is callable }}{{ messages is callable }}{{ [nothing|first] == [] }}",
}

# What templates of ours refuse, by name of the chat; snippets by their own.
WITHOUT_CONTENT = {"no content", "null content", "call", "one call with id"}
TURNS_OUT_OF_ORDER = {"two systems", "developer", "wrong order", "two users"}
CALLS = {"call", "calls", "calls with ids", "one call with id", "text arguments", "flat call", "thought and call", "tool parts", "tool object"}
PARTS = {"parts", "all parts", "text parts"}
REFUSED = {
    "command-r": WITHOUT_CONTENT | PARTS,
    "deepseek": {"no content", "null content", "flat call", "all parts", "text parts"},
    "gemma": TURNS_OUT_OF_ORDER | CALLS,
    "gpt-oss": {"no content", "null content"} | PARTS,
    "granite": WITHOUT_CONTENT | PARTS | {"tool parts", "tool object"},
    "llama2": TURNS_OUT_OF_ORDER | WITHOUT_CONTENT | CALLS | PARTS,
    # One call a message; a system prompt alone is refused where the tools go to the first question.
    "llama3": {"calls with ids", "flat call", "system alone"},
    "mistral": TURNS_OUT_OF_ORDER | WITHOUT_CONTENT | CALLS | {"odd role", "all parts"},
    # Calls need ids of nine characters.
    "mistral-tools": {"two systems", "developer", "odd role", "all parts", "call", "calls", "flat call", "thought and call", "tool parts", "tool object"},
    "qwen3": {"all parts"},
    "smollm": {"all parts"},
    "snippets": {"attribute of undefined", "raise", "loops over none", "slices of none", "slices of nothing", "list of none", "iterator as JSON",
                 "length of an iterator", "view as JSON", "split at nothing", "joins numbers"},
}


def theirs(tokenizer, chat, template, tools, variables, flags):
    more = {k: v for k, v in (variables or {}).items() if k != "documents"}
    documents = (variables or {}).get("documents")
    return tokenizer.apply_chat_template(chat, chat_template=template, tools=tools, documents=documents, tokenize=False,
                                         add_generation_prompt=flags == "g", continue_final_message=flags == "c", **more)


def compare(oracle, tokenizer, template, chat, tools=None, variables=None, flags="g"):
    """"equal", "refused" by both, or "differ"; and what each of them said."""
    try:
        expected = theirs(tokenizer, chat, template, tools, variables, flags)
    except Exception as failure:
        expected = failure
    # The oracle passes documents as a variable.
    got = oracle.chat(chat, template, tools, variables, flags)
    said = f"{got!r}\n        expected {expected!r}"
    if isinstance(expected, Exception) and isinstance(got, Exception):
        return "refused", said
    return "equal" if got == expected else "differ", said


def compare_template(oracle, tokenizer, path):
    """(chat, flags, outcome, description) of every conversation with the template."""
    template = path.read_text(encoding="utf-8")
    results = []
    for name, chat in CHATS.items():
        for tools in (None, TOOLS):
            for variables in VARIABLES:
                for flags in FLAGS:
                    outcome, said = compare(oracle, tokenizer, template, chat, tools, variables, flags)
                    results.append((name, flags, outcome, f"{path.stem}, {name}, tools: {bool(tools)}, {variables}, {flags!r}: {said}"))
    return path.stem, results


def work(job):
    program, model, path = job
    oracle = Oracle(program, model)
    result = compare_template(oracle, AutoTokenizer.from_pretrained(model), path)
    oracle.close()
    return result


def compare_folder(program, model, folder, show):
    paths = sorted(folder.glob("*.jinja"))
    if not paths:
        raise SystemExit(f"{folder}: no *.jinja")
    total = Counter()
    with Pool(2) as pool:
        for name, results in pool.imap(work, [(program, model, path) for path in paths]):
            counts = Counter(outcome for _, _, outcome, _ in results)
            total += counts
            print(f"{name}: {counts['equal']} equal, {counts['refused']} refused by both, {counts['differ']} differ", flush=True)
            wrong = [said for _, _, outcome, said in results if outcome == "differ"]
            for said in wrong[:show]:
                print("    " + said)
    print(f"{len(paths)} templates, {sum(total.values())} chats: {total['equal']} equal, {total['refused']} refused by both, {total['differ']} differ")
    return total["differ"]


def wrong_refusals(name, results):
    """Chats refused by both that ought to render, and those of REFUSED that render. A chat may refuse to be continued."""
    refused = {chat for chat, flags, outcome, _ in results if outcome == "refused" and flags != "c"}
    expected = REFUSED.get(name, set())
    return ([f"{name} refuses {chat!r}: {next(said for c, f, o, said in results if (c, o) == (chat, 'refused') and f != 'c')}"
             for chat in sorted(refused - expected)] + [f"{name} renders {chat!r}" for chat in sorted(expected - refused)])


def compare_own(program, model):
    tokenizer = AutoTokenizer.from_pretrained(model)
    oracle = Oracle(program, model)
    problems, total = [], Counter()
    for path in sorted((Path(__file__).resolve().parent / "templates").glob("*.jinja")):
        name, results = compare_template(oracle, tokenizer, path)
        total += Counter(outcome for _, _, outcome, _ in results)
        problems += [said for _, _, outcome, said in results if outcome == "differ"] + wrong_refusals(name, results)
    for name, template in SNIPPETS.items():
        outcome, said = compare(oracle, tokenizer, template, CHATS["turns"])
        total[outcome] += 1
        if outcome == "differ" or (outcome == "refused") != (name in REFUSED["snippets"]):
            problems.append(f"{name}: {said}")
    oracle.close()
    print(f"{sum(total.values())} chats: {total['equal']} equal, {total['refused']} refused by both, {total['differ']} differ; {len(problems)} problems")
    for problem in problems[:24]:
        print("    " + problem)
    return len(problems)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--templates", type=Path)
    parser.add_argument("--show", type=int, default=2, help="differences of each template that are printed")
    args = parser.parse_args()
    if args.templates:
        return 1 if compare_folder(args.program, args.model, args.templates, args.show) else 0
    return 1 if compare_own(args.program, args.model) else 0


if __name__ == "__main__":
    sys.exit(main())
