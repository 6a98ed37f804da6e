//! Every route is asked without a key, with a tenant's and with the operator's: the list comes from the OpenAPI
//! document, and a route that is missing here fails.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::support::Service;

/// Status for nobody, for a tenant, for the operator. The bodies are empty objects and the things do not exist, so
/// 400 and 404 mean that the caller got past the door.
const MATRIX: &[(&str, &str, [u16; 3])] = &[
    ("get", "/api/v1/keys", [401, 200, 200]),
    ("post", "/api/v1/keys", [401, 400, 400]),
    ("get", "/api/v1/keys/{key}", [401, 404, 404]),
    ("delete", "/api/v1/keys/{key}", [401, 404, 404]),
    ("post", "/api/v1/keys/{key}/rotate", [401, 404, 404]),
    ("get", "/api/v1/tenants", [401, 200, 200]),
    ("post", "/api/v1/tenants", [401, 400, 400]),
    ("get", "/api/v1/tenants/{tenant}", [401, 404, 404]),
    ("patch", "/api/v1/tenants/{tenant}", [401, 404, 404]),
    ("get", "/api/v1/models", [401, 200, 200]),
    ("post", "/api/v1/models", [401, 400, 400]),
    ("get", "/api/v1/models/{model}", [401, 404, 404]),
    ("patch", "/api/v1/models/{model}", [401, 403, 404]),
    ("delete", "/api/v1/models/{model}", [401, 403, 404]),
    ("post", "/api/v1/models/{model}/unload", [401, 403, 404]),
    ("get", "/api/v1/models/{model}/adapters", [401, 404, 404]),
    ("post", "/api/v1/models/{model}/adapters", [401, 400, 400]),
    ("delete", "/api/v1/models/{model}/adapters/{adapter}", [401, 403, 404]),
    ("get", "/api/v1/catalogue", [401, 403, 200]),
    ("get", "/api/v1/operations", [401, 403, 200]),
    ("get", "/api/v1/operations/{operation}", [401, 403, 404]),
    ("delete", "/api/v1/operations/{operation}", [401, 403, 404]),
    ("get", "/api/v1/status", [401, 403, 200]),
    ("get", "/api/v1/whoami", [401, 200, 200]),
    ("get", "/api/v1/openapi.json", [200, 200, 200]),
];

#[test]
fn every_route_asks_for_the_right_key() {
    let service = Service::start(&[]);
    let (_, document) = service.get("", "/api/v1/openapi.json");
    let mut routes = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods
            .as_object()
            .expect("methods")
            .keys()
            .filter(|method| ["get", "post", "put", "patch", "delete"].contains(&method.as_str()))
        {
            routes.insert((path.clone(), method.clone()), ());
        }
    }
    for (method, path, expect) in MATRIX {
        assert!(routes.remove(&((*path).to_owned(), (*method).to_owned())).is_some(), "{method} {path} is not in the document");
        let concrete = path.replace(['{', '}'], "");
        for (key, expect) in [None, Some(&service.key), Some(&service.operator_key)].into_iter().zip(expect) {
            let url = format!("{}{concrete}", service.url);
            let method: reqwest::Method = method.to_uppercase().parse().expect("a method");
            let mut request = service.http.request(method.clone(), url);
            if let Some(key) = key {
                request = request.bearer_auth(key);
            }
            if method != "GET" && method != "DELETE" {
                request = request.json(&json!({}));
            }
            let response = request.send().expect("an answer");
            assert_eq!(
                response.status().as_u16(),
                *expect,
                "{method} {path} with {}",
                if key.is_none() {
                    "no key"
                } else if key == Some(&service.key) {
                    "a tenant's key"
                } else {
                    "the operator's key"
                }
            );
        }
    }
    assert!(routes.is_empty(), "routes without a row in the matrix: {:?}", routes.keys());
}

#[test]
fn the_model_apis_ask_for_a_key() {
    let service = Service::start(&[]);
    for prefix in ["/v1", "/llama/compat/v1", "/llama/v1"] {
        for path in ["chat/completions", "completions", "embeddings", "responses", "moderations"] {
            let response = service.http.post(format!("{}{prefix}/{path}", service.url)).json(&json!({})).send().expect("an answer");
            let status = response.status().as_u16();
            assert!(status == 401 || status == 404, "{prefix}/{path}: {status}");
            let body: Value = response.json().expect("JSON");
            assert!(body.is_object());
        }
        assert_eq!(service.http.get(format!("{}{prefix}/models", service.url)).send().expect("an answer").status().as_u16(), 401);
    }
    let (status, body) = service.post(&service.operator_key, "/v1/chat/completions", &super::support::ask("Hi", 1));
    assert_eq!(status, 403, "{body}");
}
