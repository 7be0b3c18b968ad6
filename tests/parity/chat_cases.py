"""Conversations, tools and variables that chat templates are rendered with, for chat_template_test.py."""

TOOLS = [
    {"type": "function", "function": {
        "name": "weather", "description": "The weather \u00e4 <b>now</b> & \"then\"", "parameters": {
            "type": "object", "required": ["city"], "properties": {
                "city": {"type": "string", "description": "Which"}, "days": {"type": "integer", "default": 3},
                "unit": {"type": "string", "enum": ["C", "F"], "default": "C"}, "tags": {"type": "array", "items": {"type": "string"}},
                "more": {"type": "object", "properties": {"deep": {"type": ["string", "null"]}, "x": {"type": "boolean"}}},
                "list": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}, "any": {"type": "array"},
                "map": {"type": "object", "additionalProperties": {"type": "integer"}}, "shape": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "bare": {},
                "either": {"oneOf": [{"type": "string", "default": "a"}, {"type": "number"}], "default": "s"}}}}},
    {"type": "function", "function": {"name": "nothing", "description": "None", "parameters": {"type": "object", "properties": {}}}},
]
CALL = [{"type": "function", "id": "1", "function": {"name": "weather", "arguments": {
    "city": "K\u00f6ln \U0001f600", "days": 2, "f": 1.0, "e": 1e-7, "big": 1e22, "n": None, "t": True, "l": [1, [2, "x"]], "o": {}}}}]


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}




def tool(text, **more):
    return {"role": "tool", "content": text, **more}


def text(*parts):
    return [{"type": "text", "text": part} for part in parts]


def call(name, arguments, **more):
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


SYSTEM = {"role": "system", "content": " You are kind. \n"}
CHATS = {
    "one": [user("Hello")],
    "turns": [user(" Hi there\n"), assistant("  Yes?\n"), user("<b>\u00e9\U0001f600</b> \\n 'q' \"d\""), assistant("ok")],
    "many turns": [SYSTEM] + [m for i in range(4) for m in (user(f"{i}?"), assistant(f"{i}."))] + [user("\u4f60\u597d, \u0645\u0631\u062d\u0628\u0627 \u2028")],
    "system": [SYSTEM, user("a"), assistant("b"), user("c")],
    "two systems": [SYSTEM, user("a"), {"role": "system", "content": "x /no_think"}, assistant("b")],
    "system alone": [SYSTEM],
    "empty system": [{"role": "system", "content": ""}, user("a")],
    "developer": [{"role": "developer", "content": "Be brief."}, user("a"), assistant("b"), user("c")],
    "wrong order": [assistant("b"), assistant("c")],
    "two users": [user("a"), user("b"), assistant("c")],
    "odd role": [user("a"), {"role": "narrator", "content": "b"}],
    "no content": [user("a"), {"role": "assistant"}, user("c")],
    "null content": [user("a"), assistant(None), user(None)],
    "thought": [user("a"), assistant("<think>\nhm\n</think>\n\nb"), user("c"), assistant("d", reasoning_content="so\n")],
    "thinking": [user("a"), assistant("b", thinking="first")],
    "thoughts": [SYSTEM, user("a"), assistant("b", reasoning_content=" one \n\n two"), user("c"), assistant("d", reasoning_content=""), user("e")],
    "tags in text": [user("<think>no</think> <|im_end|> [INST]"), assistant("</think>b<think>"), user("<tool_response>x</tool_response>")],
    "call": [SYSTEM, user("weather?"), assistant(None, tool_calls=CALL), tool("12 \u00b0C", name="weather"), assistant("12")],
    "calls": [user("w"), assistant("", tool_calls=CALL), tool("1"), tool("2")],
    "calls with ids": [user("w"), assistant("Let me see.", tool_calls=[call("weather", {"city": "K\u00f6ln"}, id="abcdefgh1"), call("nothing", {}, id="abcdefgh2")]),
                       tool("{\"t\": 1.50}", tool_call_id="abcdefgh1", name="weather"), tool("", tool_call_id="abcdefgh2", name="nothing"),
                       assistant("So."), user("And?"), assistant("", tool_calls=[call("nothing", {}, id="abcdefgh3")])],
    "one call with id": [SYSTEM, user("w"), assistant(None, tool_calls=[call("weather", {"city": "a\nb", "days": 0}, id="abcdefgh1")]),
                         tool("{\"t\": 1.50}", tool_call_id="abcdefgh1", name="weather"), assistant("Done.")],
    "text arguments": [user("w"), assistant("", tool_calls=[call("weather", "{\"city\": \"K\u00f6ln\"}", id="abcdefgh1")]), tool("x", tool_call_id="abcdefgh1")],
    "flat call": [user("w"), assistant("", tool_calls=[{"name": "weather", "arguments": {"city": "x", "l": [True, None, 0.1]}, "id": "abcdefgh1"}]), tool("x")],
    "thought and call": [user("w"), assistant("", reasoning_content="I need it.\n", tool_calls=CALL), tool("1"), assistant("ok", reasoning_content="Good."), user("x"),
                         assistant("", reasoning_content="Again.", tool_calls=CALL), tool("2")],
    "parts": [{"role": "user", "content": [{"type": "text", "text": " What? "}, {"type": "image"}]}],
    "all parts": [{"role": "system", "content": text("Be ", "kind.")}, {"role": "user", "content": [
        {"type": "image", "image": "a.png"}, *text("What", " is it?"), {"type": "image_url", "image_url": {"url": "a.png"}}, {"type": "video", "video": "v.mp4"},
        {"type": "audio", "audio": "s.wav"}]}, assistant(text(" A ", "cat. ")), {"role": "user", "content": text("Sure?\n")}],
    "text parts": [{"role": "user", "content": text("a ", "b")}, assistant(text("c")), {"role": "user", "content": text("d")}, assistant(text("e ", " f "))],
    "tool parts": [user("w"), assistant("", tool_calls=CALL), tool(text("1", "2"))],
    "tool object": [user("w"), assistant("x", tool_calls=CALL), tool({"a": [1, 2.5, None, True]})],
    "empty text": [user(""), assistant("")],
    "prefix": [user("a"), assistant("Sure, here \n", prefix=True)],
    "end with assistant": [SYSTEM, user("a"), assistant("<think>\nx\n</think>\ny")],
}
# Flags: a generation prompt, nothing, the last message continued.
FLAGS = ("g", "", "c")
VARIABLES = [None, {"enable_thinking": False, "thinking": True, "builtin_tools": ["browser", "code_interpreter"], "reasoning_effort": "low"},
             {"documents": [{"doc_id": 3, "text": "D", "title": "T"}], "controls": {"citations": True, "length": "short"}, "tools_in_user_message": False},
             {"enable_thinking": True, "thinking": False, "reasoning_effort": "high", "clear_thinking": False, "preserve_thinking": True,
              "keep_past_thinking": True, "add_vision_id": True, "date_string": "1 Jan 2030", "model_identity": "M"}]
