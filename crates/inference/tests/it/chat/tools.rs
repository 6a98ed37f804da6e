use freehold_inference::chat::tools::stream::{Piece, ToolStream};
use proptest::prelude::*;

fn functions() -> Vec<String> {
    ["get_weather", "get_time", "f"].map(str::to_owned).to_vec()
}

fn read(parts: &[&str], calls_max: u32) -> Vec<Piece> {
    let mut stream = ToolStream::new(functions(), calls_max);
    let mut pieces = Vec::new();
    for part in parts {
        stream.push(part, &mut pieces);
    }
    stream.finish(&mut pieces);
    join(pieces)
}

fn join(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (joined.last_mut(), piece) {
            (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
            (Some(Piece::Arguments(before)), Piece::Arguments(text)) => before.push_str(&text),
            (_, piece) => joined.push(piece),
        }
    }
    joined
}

/// `text`, `f(arguments)`.
fn show(pieces: &[Piece]) -> String {
    let mut shown = String::new();
    let mut open = false;
    for piece in pieces {
        match piece {
            Piece::Text(text) => {
                shown.push_str(if std::mem::take(&mut open) { ")`" } else { "`" });
                shown.push_str(text);
                shown.push('`');
            }
            Piece::Call { name } => {
                shown.push_str(if open { ")" } else { "" });
                shown.push_str(name);
                shown.push('(');
                open = true;
            }
            Piece::Arguments(text) => shown.push_str(text),
        }
    }
    if open {
        shown.push(')');
    }
    shown
}

#[test]
fn calls_are_found_in_every_form() {
    for (answer, expect) in [
        (r#"{"name": "f", "parameters": {"a": 1}}"#, r#"f({"a": 1})"#),
        (r#"{"name":"f","arguments":{"a":{"b":[1,{}]}}}"#, r#"f({"a":{"b":[1,{}]}})"#),
        (r#" {"type": "function", "name": "f", "parameters": {}} "#, "f({})"),
        (r#"{"parameters": {"a": "}\"{"}, "name": "f"}"#, r#"f({"a": "}\"{"})"#),
        (r#"{"name": "f"}"#, "f({})"),
        (r#"{"name": "f", "parameters": null}"#, "f({})"),
        (r#"{"name": "f", "parameters": "{\"a\": 1}"}"#, r#"f({"a": 1})"#),
        (r#"{"function": "f", "parameters": {}}"#, "f({})"),
        (r#"<|python_tag|>{"name": "f", "parameters": {}}"#, "f({})"),
        (r#"{"name": "f", "parameters": {}}; {"name": "get_time", "parameters": {}}"#, "f({})get_time({})"),
        ("{\"name\": \"f\", \"parameters\": {}}\n{\"name\": \"get_time\", \"parameters\": {}}", "f({})get_time({})"),
        (r#"<|python_tag|>{"name": "f", "parameters": {}}<|python_tag|>{"name": "f", "parameters": {"b": 2}}"#, r#"f({})f({"b": 2})"#),
        (r#"[{"name": "f", "parameters": {}}, {"name": "get_time", "arguments": {"z": "é"}}]"#, r#"f({})get_time({"z": "é"})"#),
        ("[get_weather(city='Oslo', days=3), get_time()]", r#"get_weather({"city": "Oslo", "days": 3})get_time({})"#),
        ("<|python_start|>[f(a=[1, None], b={'k': (True,)})]<|python_end|>", r#"f({"a": [1, null], "b": {"k": [true]}})"#),
        ("<|python_tag|>f(a=\"x, y)\")", r#"f({"a": "x, y)"})"#),
        ("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>", r#"f({"a": 1})"#),
        (
            "Let me look.\n<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>\n<tool_call>{\"name\": \"get_time\", \"arguments\": {}}</tool_call>",
            "`Let me look.\n`f({})get_time({})",
        ),
        // The last brace or tag is often missing.
        (r#"{"name": "f", "parameters": {"a": 1}"#, r#"f({"a": 1})"#),
        (r#"[f(a=1)"#, r#"f({"a": 1})"#),
        // Text behind a call is kept.
        ("{\"name\": \"f\", \"parameters\": {}}\n\nDone.", "f({})`\n\nDone.`"),
        // Cut off in the middle.
        (r#"{"name": "f", "parameters": {"city": "Os"#, r#"f({"city": "Os)"#),
    ] {
        assert_eq!(show(&read(&[answer], 16)), expect, "{answer}");
    }
}

#[test]
fn what_is_not_a_call_is_text() {
    for answer in [
        "",
        "   ",
        "Hello {world}",
        "{\"name\": \"Bob\", \"age\": 5}",
        "{\"name\": \"unknown_function\", \"parameters\": {}}",
        "{\"name\": \"f\", \"parameters\": [1]}",
        "{\"name\": \"f\", \"parameters\": \"no json\"}",
        "{\"name\": \"f\", \"colour\": 1}",
        "{\"name\": \"f\"",
        "{}",
        "{ not json",
        "[1] As written",
        "[f is a function]",
        "[f(1, 2)]",
        "[f(a=hello world)]",
        "[unknown(a=1)]",
        "<b>bold</b> < <| <|python <|python_tag|",
        "<|python_tag|>print(1)",
        "<tool_call>",
        "<tool_call>oops</tool_call>",
        "\n <tool_call> [f()]",
        "```json\n{\"name\": \"f\", \"parameters\": {}}\n```",
    ] {
        let expect = if answer.is_empty() { vec![] } else { vec![Piece::Text(answer.to_owned())] };
        assert_eq!(read(&[answer], 16), expect, "{answer}");
    }
}

#[test]
fn a_call_that_goes_wrong_keeps_what_it_had_and_the_rest_is_text() {
    assert_eq!(show(&read(&[r#"{"name": "f", "parameters": {"a": 1, oops}}"#], 16)), r#"f({"a": 1, )`oops}}`"#);
    assert_eq!(show(&read(&["[f(a=1, b=?)]"], 16)), r#"f({"a": 1})`, b=?)]`"#);
}

#[test]
fn text_and_arguments_are_passed_on_at_once() {
    let mut stream = ToolStream::new(functions(), 16);
    let mut pieces = Vec::new();
    stream.push("Hel", &mut pieces);
    assert_eq!(pieces, [Piece::Text("Hel".to_owned())]);
    let mut stream = ToolStream::new(functions(), 16);
    let mut seen = Vec::new();
    for part in ["{\"name\": \"f\"", ", \"parameters\": {\"ci", "ty\": \"Os", "lo\"}", "}"] {
        let mut pieces = Vec::new();
        stream.push(part, &mut pieces);
        seen.push(show(&pieces));
    }
    assert_eq!(seen, ["", "f({\"ci)", "ty\": \"Os", "lo\"}", ""]);
}

#[test]
fn no_more_calls_than_allowed() {
    let two = "{\"name\": \"f\", \"parameters\": {}}\n{\"name\": \"get_time\", \"parameters\": {}}";
    assert_eq!(show(&read(&[two], 1)), "f({})");
    assert_eq!(show(&read(&["[f(), get_time(a=1)]"], 1)), "f({})");
}

fn fragments() -> impl Strategy<Value = Vec<String>> {
    let known = prop::sample::select(vec![
        "{\"name\": \"f\"",
        ", \"parameters\": ",
        "{\"a\": ",
        "1",
        "}",
        "}}",
        "{",
        "[",
        "]",
        "f(",
        "a=",
        "'x'",
        ")",
        ", ",
        ";",
        "\n",
        "<tool_call>",
        "</tool_call>",
        "<|python_tag|>",
        "<|python_start|>",
        "<|python_end|>",
        "<",
        "\"",
        "\\",
        "name",
        "get_time()",
        "{}",
        "{\"name\":\"get_time\",\"arguments\":{}}",
    ])
    .prop_map(str::to_owned);
    prop::collection::vec(prop_oneof![8 => known, 1 => "\\PC{0,4}"], 0..24)
}

proptest! {
    #[test]
    fn how_an_answer_is_cut_makes_no_difference(parts in fragments(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let whole = parts.concat();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).map(|at| (at..=whole.len()).find(|&at| whole.is_char_boundary(at)).unwrap()).collect();
        places.extend([0, whole.len()]);
        places.sort_unstable();
        let pieces: Vec<&str> = places.windows(2).map(|pair| &whole[pair[0]..pair[1]]).collect();
        prop_assert_eq!(read(&pieces, 16), read(&[&whole], 16));
    }

    #[test]
    fn nothing_is_lost(parts in fragments()) {
        let whole = parts.concat();
        let mut nobody = ToolStream::new(Vec::new(), 16);
        let mut pieces = Vec::new();
        nobody.push(&whole, &mut pieces);
        nobody.finish(&mut pieces);
        let text: String = pieces.iter().map(|piece| match piece { Piece::Text(text) => text.as_str(), _ => "" }).collect();
        prop_assert_eq!(&text, &whole);
        // With functions: what is not handed out as text or arguments is the syntax of calls.
        let pieces = read(&[&whole], 16);
        if !pieces.iter().any(|piece| matches!(piece, Piece::Call { .. })) {
            let text: String = pieces.iter().map(|piece| match piece { Piece::Text(text) => text.as_str(), _ => "" }).collect();
            prop_assert_eq!(text, whole);
        }
    }

    #[test]
    fn arguments_are_valid_json_when_the_call_is(arguments in json_object(), name in prop::sample::select(functions())) {
        let answer = format!("{{\"name\": \"{name}\", \"parameters\": {arguments}}}");
        prop_assert_eq!(read(&[&answer], 16), vec![Piece::Call { name }, Piece::Arguments(arguments.to_string())]);
    }
}

fn json_object() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e300..1e300).prop_map(|number: f64| serde_json::json!(number)),
        "\\PC{0,6}".prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map("\\PC{0,6}", inner, 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    });
    prop::collection::btree_map("\\PC{0,6}", value, 0..4).prop_map(|members| serde_json::Value::Object(members.into_iter().collect()))
}
