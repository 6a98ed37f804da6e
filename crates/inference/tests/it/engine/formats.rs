//! Answers that must match a grammar.

use freehold_dialects::canonical::FinishReason;
use freehold_domain::ErrorCode;
use freehold_inference::engine::{Constraint, Engine, SamplingParams};
use serde_json::{Value, json};

use super::support::{ask, greedy, prompt, request, shared};

fn person() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "maxLength": 20 },
            "age": { "type": "integer", "minimum": 0, "maximum": 150 },
            "home": { "$ref": "#/$defs/place" }
        },
        "required": ["name", "age", "home"],
        "additionalProperties": false,
        "$defs": { "place": { "enum": ["sea", "land"] } }
    })
}

#[test]
fn json_schemas_are_enforced() {
    let (engine, _turn) = shared();
    for (seed, temperature) in [(0, 0.0), (1, 1.0), (2, 1.5)] {
        let mut asked = request("schema", prompt(engine, "Describe a sailor."), 120);
        asked.sampling = SamplingParams { temperature, seed, ..greedy() };
        asked.constraint = Some(Constraint::JsonSchema(person()));
        let answer = ask(engine, asked);
        assert_eq!(answer.reasons, [Some(FinishReason::Stop)], "{}", answer.text());
        let value: Value = serde_json::from_str(answer.text()).expect("valid JSON");
        assert!(value["name"].is_string() && value["age"].as_u64().is_some_and(|age| age <= 150), "{value}");
        assert!(["sea", "land"].contains(&value["home"].as_str().expect("a place")), "{value}");
    }
}

#[test]
fn recursive_schemas_are_enforced() {
    let (engine, _turn) = shared();
    let mut asked = request("recursive", prompt(engine, "Draw a tree."), 60);
    asked.sampling = SamplingParams { temperature: 1.0, seed: 4, ..greedy() };
    asked.constraint = Some(Constraint::JsonSchema(json!({
        "$ref": "#/$defs/node",
        "$defs": { "node": {
            "type": "object",
            "properties": { "leaf": { "type": "boolean" }, "children": { "type": "array", "maxItems": 1, "items": { "$ref": "#/$defs/node" } } },
            "required": ["leaf"],
            "additionalProperties": false
        } }
    })));
    let answer = ask(engine, asked);
    if answer.reasons[0] == Some(FinishReason::Stop) {
        let value: Value = serde_json::from_str(answer.text()).expect("valid JSON");
        assert!(value["leaf"].is_boolean());
    } else {
        assert!(answer.text().starts_with("{\"leaf\": "), "{}", answer.text());
    }
}

#[test]
fn several_answers_each_follow_the_grammar() {
    let (engine, _turn) = shared();
    let mut asked = request("lark", prompt(engine, "Is the sea blue?"), 20);
    asked.n = 4;
    asked.sampling = SamplingParams { temperature: 2.0, top_p: 0.9, seed: 9, ..greedy() };
    asked.constraint = Some(Constraint::Lark(r#"start: ("yes" | "no") ", " /[a-z]{3}/"#.to_owned()));
    let answer = ask(engine, asked);
    assert_eq!(answer.texts.len(), 4);
    for text in &answer.texts {
        let (word, rest) = text.split_once(", ").expect("two parts");
        assert!(["yes", "no"].contains(&word) && rest.len() == 3, "{text}");
    }
}

#[test]
fn bad_grammars_are_refused() {
    let (engine, _turn) = shared();
    let constraints = [
        Constraint::JsonSchema(json!({ "type": "no such type" })),
        Constraint::JsonSchema(json!({ "$ref": "#/nowhere" })),
        Constraint::JsonSchema(json!({ "type": "string", "pattern": "(" })),
        Constraint::JsonSchema(json!({ "type": "string", "description": "x".repeat(2 << 20) })),
        Constraint::Lark("start: (".to_owned()),
    ];
    for constraint in constraints {
        let mut asked = request("bad", prompt(engine, "Hello."), 5);
        asked.constraint = Some(constraint.clone());
        let error = engine.generate(asked).expect_err("refused");
        assert_eq!((error.code, error.param.as_deref()), (ErrorCode::InvalidRequest, Some("response_format")), "{constraint:?}");
        assert!(error.message.len() < 600 && !error.message.contains('\n'), "{}", error.message);
    }
    assert!(!ask(engine, request("bad", prompt(engine, "Hello."), 5)).text().is_empty());
}
