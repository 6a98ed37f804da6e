//! What is stored of a request, and how stored things are shown.

use std::collections::HashSet;

use freehold_domain::Error;
use serde_json::{Map, Value, json};

/// Longest id of an item that is kept as the client gave it, in bytes.
const ID_LEN_MAX: usize = 128;
/// Items of a page when nobody says how many, and the most.
const LIMIT_DEFAULT: u32 = 20;
const LIMIT_MAX: u32 = 100;

/// Which of a response's input items are asked for, as the query says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemsRequest {
    /// 1 to 100; 20 when it is left out.
    pub limit: Option<u32>,
    /// `asc` or `desc`; `desc` when it is left out.
    pub order: Option<String>,
    /// The id of the last item of the page before.
    pub after: Option<String>,
}

/// Brings items into the form that the API lists them in. Items that make no difference are left out.
pub(super) fn normalize(items: Vec<Value>, answer: &str) -> Vec<Value> {
    let mut ids = HashSet::new();
    let mut kept = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let Value::Object(mut item) = item else { continue };
        let kind = item.get("type").and_then(Value::as_str).unwrap_or("message").to_owned();
        if kind == "reasoning" {
            continue;
        }
        let own = item.get("id").and_then(Value::as_str).filter(|id| !id.is_empty() && id.len() <= ID_LEN_MAX);
        let id = own.filter(|id| !ids.contains(*id)).map_or_else(|| made_id(&kind, answer, index), str::to_owned);
        if kind == "message" {
            put_in_parts(&mut item);
        }
        item.insert("id".to_owned(), json!(id));
        item.insert("type".to_owned(), json!(kind));
        if !item.get("status").is_some_and(Value::is_string) {
            item.insert("status".to_owned(), json!("completed"));
        }
        ids.insert(id);
        kept.push(Value::Object(item));
    }
    kept
}

fn made_id(kind: &str, answer: &str, index: usize) -> String {
    let prefix = match kind {
        "function_call" => "fc",
        "function_call_output" => "fco",
        _ => "msg",
    };
    format!("{prefix}_{answer}_in_{index}")
}

/// A message's text becomes a list with one part.
fn put_in_parts(message: &mut Map<String, Value>) {
    let answered = message.get("role").and_then(Value::as_str) == Some("assistant");
    let Some(content) = message.get_mut("content") else { return };
    if let Value::String(text) = content {
        let text = std::mem::take(text);
        *content = match answered {
            true => json!([{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]),
            false => json!([{"type": "input_text", "text": text}]),
        };
    }
}

/// Writes a page of a response's input items, which are stored as a JSON array.
///
/// # Errors
/// `invalid_request` for a page that is none; `internal` for what is not a JSON array.
pub fn encode_items(stored: &str, request: &ItemsRequest) -> Result<Value, Error> {
    let mut items: Vec<Value> = serde_json::from_str(stored).map_err(|fault| Error::internal(format!("stored items: {fault}")))?;
    let limit = request.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Error::invalid("limit", format!("`limit` must be from 1 to {LIMIT_MAX}, but is {limit}.")));
    }
    match request.order.as_deref() {
        None | Some("desc") => items.reverse(),
        Some("asc") => {}
        Some(_) => return Err(Error::invalid("order", "`order` must be `asc` or `desc`.")),
    }
    let id = |item: &Value| item["id"].as_str().map(str::to_owned);
    if let Some(after) = &request.after {
        let place = items.iter().position(|item| item["id"].as_str() == Some(after));
        let place =
            place.ok_or_else(|| Error::invalid("after", "`after` must be the id of one of the items: the last of the page before."))?;
        items.drain(..=place);
    }
    let has_more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let (first, last) = (items.first().and_then(id), items.last().and_then(id));
    Ok(json!({"object": "list", "data": items, "first_id": first, "last_id": last, "has_more": has_more}))
}

/// Says that a response was deleted.
pub fn encode_deleted(id: &str) -> Value {
    json!({"id": id, "object": "response", "deleted": true})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_get_ids_and_parts() {
        let items = normalize(
            vec![
                json!({"role": "user", "content": "a"}),
                json!({"type": "reasoning", "summary": []}),
                json!({"role": "assistant", "id": "msg_1", "content": "b"}),
                json!({"type": "function_call", "id": "msg_1", "call_id": "c", "name": "f", "arguments": "{}"}),
                json!({"type": "function_call_output", "id": 7, "call_id": "c", "output": "x", "status": null}),
            ],
            "req_1",
        );
        let ids: Vec<&str> = items.iter().filter_map(|item| item["id"].as_str()).collect();
        assert_eq!(ids, ["msg_req_1_in_0", "msg_1", "fc_req_1_in_3", "fco_req_1_in_4"]);
        assert_eq!(items[0]["content"], json!([{"type": "input_text", "text": "a"}]));
        assert_eq!(items[1]["content"][0]["type"], "output_text");
        assert!(items.iter().all(|item| item["status"] == "completed" && item["type"].is_string()));
    }

    #[test]
    fn pages_of_items() {
        let stored = json!((0..5).map(|n| json!({"id": format!("i{n}")})).collect::<Vec<_>>()).to_string();
        let page = |limit, order: Option<&str>, after: Option<&str>| {
            let request = ItemsRequest { limit, order: order.map(str::to_owned), after: after.map(str::to_owned) };
            encode_items(&stored, &request)
        };
        let newest = page(Some(2), None, None).unwrap();
        assert_eq!((&newest["first_id"], &newest["last_id"], &newest["has_more"]), (&json!("i4"), &json!("i3"), &json!(true)));
        let rest = page(Some(3), None, Some("i3")).unwrap();
        assert_eq!((rest["data"].as_array().map(Vec::len), &rest["has_more"]), (Some(3), &json!(false)));
        let none = page(None, Some("asc"), Some("i4")).unwrap();
        assert_eq!((&none["data"], &none["first_id"]), (&json!([]), &Value::Null));
        for (limit, order, after, param) in [
            (Some(0), None, None, "limit"),
            (Some(101), None, None, "limit"),
            (None, Some("up"), None, "order"),
            (None, None, Some("x"), "after"),
        ] {
            assert_eq!(page(limit, order, after).unwrap_err().param.as_deref(), Some(param));
        }
        assert!(encode_items("{", &ItemsRequest::default()).is_err());
    }
}
