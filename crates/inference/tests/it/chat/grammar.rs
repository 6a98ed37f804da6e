use freehold_dialects::canonical::{ChatRequest, Message, ResponseFormat, Role, Tool, ToolChoice};
use freehold_inference::chat::tools::grammar::{CallForm, constraint};
use freehold_inference::chat::tools::stream::{Piece, ToolStream};
use freehold_inference::engine::Constraint;
use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use serde_json::json;
use toktrie::ApproximateTokEnv;

use super::{request, time_of_day, weather};

/// Whether an answer is allowed, bytes being tokens.
fn allows(constraint: &Constraint, answer: &str) -> bool {
    let environment = ApproximateTokEnv::single_byte_env();
    let mut factory = ParserFactory::new_simple(&environment).unwrap();
    factory.quiet();
    let grammar = match constraint {
        Constraint::JsonSchema(schema) => TopLevelGrammar::from_json_schema(schema.clone()),
        Constraint::Lark(text) => TopLevelGrammar::from_lark(text.clone()),
    };
    let mut matcher = Matcher::new(factory.create_parser(grammar));
    assert!(!matcher.is_error(), "{:?}\n{constraint:?}", matcher.get_error());
    let tokens: Vec<u32> = answer.bytes().map(u32::from).collect();
    matcher.try_consume_tokens(&tokens).unwrap() == tokens.len() && matcher.is_accepting().unwrap()
}

fn with_tools(choice: ToolChoice, tools: Vec<Tool>) -> ChatRequest {
    ChatRequest { tool_choice: choice, tools, ..request(vec![Message::text(Role::User, "?")]) }
}

fn strict(mut tool: Tool) -> Tool {
    tool.strict = true;
    tool
}

fn check(request: &ChatRequest, form: CallForm, cases: &[(&str, bool)]) {
    let constraint = constraint(request, form).unwrap().expect("something is enforced");
    for (answer, expect) in cases {
        assert_eq!(allows(&constraint, answer), *expect, "{answer}\n{constraint:?}");
    }
}

const OSLO: &str = r#"{"name": "get_weather", "parameters": {"city": "Oslo"}}"#;
const TIME: &str = r#"{"name": "get_time", "parameters": {}}"#;

#[test]
fn a_required_call_is_enforced() {
    let mut talk = with_tools(ToolChoice::Required, vec![weather(), time_of_day()]);
    let both = format!("{OSLO}\n{TIME}");
    let cases = [
        (OSLO, true),
        (TIME, true),
        ("Hello", false),
        ("", false),
        (r#"{"name": "get_weather", "parameters": {}}"#, false),
        (r#"{"name": "get_weather", "parameters": {"city": 5}}"#, false),
        (r#"{"name": "other", "parameters": {}}"#, false),
    ];
    check(&talk, CallForm::Llama, &cases);
    check(&talk, CallForm::Llama, &[(&both, true)]);
    talk.parallel_tool_calls = false;
    check(&talk, CallForm::Llama, &cases);
    check(&talk, CallForm::Llama, &[(&both, false)]);
    check(&talk, CallForm::Tagged, &[("<tool_call>\n{\"name\": \"get_time\", \"arguments\": {}}\n</tool_call>", true), (TIME, false)]);
}

#[test]
fn a_named_function_is_enforced() {
    let talk = with_tools(ToolChoice::Function("get_time".to_owned()), vec![weather(), time_of_day()]);
    check(&talk, CallForm::Llama, &[(TIME, true), (OSLO, false)]);
    let missing = with_tools(ToolChoice::Function("other".to_owned()), vec![weather()]);
    assert_eq!(constraint(&missing, CallForm::Llama).unwrap_err().param.as_deref(), Some("tool_choice"));
    assert_eq!(constraint(&with_tools(ToolChoice::Required, vec![]), CallForm::Llama).unwrap_err().param.as_deref(), Some("tool_choice"));
}

#[test]
fn a_strict_function_may_be_called_or_not() {
    let talk = with_tools(ToolChoice::Auto, vec![strict(weather()), time_of_day()]);
    check(
        &talk,
        CallForm::Llama,
        &[
            (OSLO, true),
            ("It is 5 °C.\n\n{\"x\": 1} < 2", true),
            ("", true),
            (r#"{"name": "get_weather", "parameters": {}}"#, false),
            ("{", false),
            ("Well <tool_call>{}", false),
        ],
    );
    assert_eq!(constraint(&with_tools(ToolChoice::Auto, vec![weather()]), CallForm::Llama).unwrap(), None);
    assert_eq!(constraint(&with_tools(ToolChoice::None, vec![strict(weather())]), CallForm::Llama).unwrap(), None);
}

#[test]
fn answers_in_json_are_enforced() {
    let mut talk = request(vec![Message::text(Role::User, "?")]);
    talk.response_format = ResponseFormat::JsonObject;
    check(&talk, CallForm::Llama, &[("{}", true), (r#"{"a": [1, "x"]}"#, true), ("[]", false), ("x", false)]);
    talk.response_format = ResponseFormat::JsonSchema {
        name: "answer".to_owned(),
        schema: json!({"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"], "additionalProperties": false, "$defs": {"n": {"type": "integer"}}, "x-guidance": {"lenient": true}}),
        strict: true,
    };
    let cases = [(r#"{"n": 1}"#, true), (r#"{"n": "1"}"#, false), ("{}", false), (r#"{"n": 1, "m": 2}"#, false)];
    check(&talk, CallForm::Llama, &cases);
    talk.tools = vec![weather()];
    check(&talk, CallForm::Llama, &cases);
    check(&talk, CallForm::Llama, &[(OSLO, true)]);
}

#[test]
fn what_is_enforced_is_read_back() {
    for (form, answer) in [(CallForm::Llama, format!("{OSLO}; {TIME}")), (CallForm::Tagged, "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"get_time\", \"arguments\": {}}\n</tool_call>".to_owned())] {
        check(&with_tools(ToolChoice::Required, vec![weather(), time_of_day()]), form, &[(&answer, true)]);
        let mut stream = ToolStream::new(vec!["get_weather".to_owned(), "get_time".to_owned()], 16);
        let mut pieces = Vec::new();
        stream.push(&answer, &mut pieces);
        stream.finish(&mut pieces);
        assert_eq!(
            pieces,
            [
                Piece::Call { name: "get_weather".to_owned() },
                Piece::Arguments(r#"{"city": "Oslo"}"#.to_owned()),
                Piece::Call { name: "get_time".to_owned() },
                Piece::Arguments("{}".to_owned()),
            ]
        );
    }
}
