//! `/api/v1/openapi.json`: the API as OpenAPI 3.1 describes it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::export::MESSAGES_MAX;
use super::operations::{ALL, Field, Operation};
use super::read::{LIMIT_MAX, answer};
use crate::app::App;
use crate::auth::Role;
use crate::input::Params;
use crate::page::PageError;

/// What parameters mean.
fn meaning(name: &str) -> &'static str {
    match name {
        "q" => "part of the name or path, in any case",
        "kind" => "user, retry, dead, system or all",
        "limit" => "most items of the answer, 1 to 500; of an export, 1 to 100,000",
        "format" => "jsonl or csv",
        "order" => "oldest or newest first",
        "queue" => "the one queue, as broker.number",
        "id" => "id of the message, by its sender or by its place",
        "cursor" => "`next` of the answer before",
        "dryRun" => "true: tells what would change, and changes nothing",
        "stacks" => "true: also what its threads do",
        "topics" => "true: also its retries and dead letters",
        "from" => "first time, in milliseconds since 1970",
        "to" => "time before which it ends, in milliseconds since 1970",
        "tag" => "tag of the messages",
        "key" => "key of the messages, found by the brokers' indexes",
        "text" => "part of the body",
        "user" => "who did it",
        "action" => "what the action begins with",
        "result" => "done, partly or failed",
        _ => "see the console's manual",
    }
}

/// What values parameters have. An empty one counts as none.
fn value_schema(name: &str, path: &str) -> Value {
    match name {
        "kind" => json!({ "type": "string", "enum": ["user", "retry", "dead", "system", "all", ""] }),
        "format" => json!({ "type": "string", "enum": ["jsonl", "csv", ""] }),
        "order" => json!({ "type": "string", "enum": ["oldest", "newest", ""] }),
        "result" => json!({ "type": "string", "enum": ["done", "partly", "failed", ""] }),
        "limit" => {
            let most = if path.ends_with("/export") { MESSAGES_MAX } else { LIMIT_MAX };
            json!({ "type": "integer", "minimum": 1, "maximum": most })
        }
        "from" | "to" => json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX }),
        "dryRun" | "stacks" | "topics" => json!({ "type": "boolean" }),
        "Idempotency-Key" => json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" }),
        _ => json!({ "type": "string" }),
    }
}

/// `GET /api/v1/openapi.json`
pub async fn document(State(app): State<Arc<App>>, Params(params): Params) -> Result<Response, PageError> {
    params.only(&[])?;
    Ok(answer(&whole(app.links.base())))
}

/// The document of a console whose paths begin with `base`.
fn whole(base: &str) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in ALL {
        let path =
            paths.entry(operation.path).or_insert_with(|| json!({ "parameters": path_parameters(operation.path) }));
        path[operation.method] = described(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Apogee console", "version": env!("CARGO_PKG_VERSION") },
        "servers": [{ "url": if base.is_empty() { "/" } else { base } }],
        "paths": paths,
        "components": {
            "securitySchemes": { "password": { "type": "http", "scheme": "basic" }, "token": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Problem": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": { "type": "string" }, "title": { "type": "string" }, "status": { "type": "integer" },
                    "detail": { "type": "string" },
                },
            }},
        },
    })
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    // Of brokers an id is a number, of tokens it is not.
    let schema = |name: &str| match name {
        "id" if path.starts_with("/api/v1/brokers/") => json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX }),
        _ => json!({ "type": "string" }),
    };
    names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": schema(name) })).collect()
}

fn described(operation: &Operation) -> Value {
    let schema = |name: &str| value_schema(name, operation.path);
    let header = |name: &str| json!({ "name": name, "in": "header", "schema": schema(name) });
    let query = operation
        .query
        .iter()
        .map(|name| json!({ "name": name, "in": "query", "description": meaning(name), "schema": schema(name) }));
    let mut parameters: Vec<Value> = query.collect();
    let is_read = operation.method == "get";
    if operation.has_etag {
        parameters.push(header("If-None-Match"));
    }
    if operation.has_etag && !is_read {
        parameters.push(header("If-Match"));
    }
    if !is_read && operation.path != "/api/v1/console/tokens" {
        parameters.push(header("Idempotency-Key"));
    }
    let mut told = json!({
        "summary": operation.summary.0, "description": format!("Takes the role {}.", operation.role.name()),
        "parameters": parameters, "responses": responses(operation),
    });
    if operation.role != Role::Guest {
        told["security"] = json!([{ "password": [] }, { "token": [] }]);
    }
    if !operation.body.is_empty() {
        told["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": body_schema(operation.body), "example": example(operation.body) } },
        });
    }
    told
}

fn responses(operation: &Operation) -> Value {
    let problem = |text: &str| {
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        json!({ "description": text, "content": { "application/problem+json": { "schema": schema } } })
    };
    let mut responses = json!({
        "400": problem("Not understood"), "401": problem("Name, password or token is wrong"),
        "403": problem("Takes a higher role"), "404": problem("There is no such thing"),
        "429": problem("Too many tries"), "502": problem("The cluster did not do it"),
    });
    let schema = |content_type: &&str| match *content_type {
        "application/json" => json!({ "type": "object", "required": operation.answer }),
        // Of a stream there is no schema.
        _ => json!({ "type": "string" }),
    };
    let types = operation.content_types().iter();
    let content: Map<String, Value> =
        types.map(|name| ((*name).to_owned(), json!({ "schema": schema(name) }))).collect();
    let done = match operation.status {
        204 => json!({ "description": "Done" }),
        _ => json!({ "description": "Done", "content": content }),
    };
    responses[operation.status.to_string()] = done;
    if operation.path.ends_with("/export") {
        responses["503"] = problem("Enough exports are under way");
    }
    let is_read = operation.method == "get";
    if operation.has_etag && is_read {
        responses["304"] = json!({ "description": "Not changed" });
    }
    if operation.has_etag && !is_read {
        responses["207"] = json!({ "description": "Some nodes did it", "content": content });
        responses["412"] = problem("Changed meanwhile");
        // A plan has other fields than what came of it.
        responses["200"]["content"]["application/json"]["schema"] = json!({ "oneOf": [
            { "type": "object", "required": operation.answer },
            { "type": "object", "required": ["dryRun", "etag"] },
        ]});
    }
    if !is_read {
        responses["409"] = problem("A change with this key is being done");
        responses["422"] = problem("The key stands for another change");
    }
    responses
}

fn body_schema(fields: &[Field]) -> Value {
    let mut properties = Map::new();
    let mut additional = json!(false);
    for (name, example, _) in fields {
        let example = parsed(example);
        let kind = match &example {
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
            Value::String(_) | Value::Null => "string",
        };
        match *name {
            "*" => additional = json!({ "type": kind }),
            // A time is a number, its ends are names.
            "to" => {
                properties.insert((*name).to_owned(), json!({ "type": ["string", "integer"] }));
            }
            name => {
                properties.insert(name.to_owned(), json!({ "type": kind }));
            }
        }
    }
    let required: Vec<&str> = fields.iter().filter(|(.., required)| *required).map(|(name, ..)| *name).collect();
    json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": additional })
}

/// A body with every field.
pub fn example(fields: &[Field]) -> Value {
    let field = |(name, example, _): &Field| {
        let name = if *name == "*" { "fileReservedTime" } else { *name };
        (name.to_owned(), parsed(example))
    };
    Value::Object(fields.iter().map(field).collect())
}

fn parsed(example: &str) -> Value {
    serde_json::from_str(example).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_and_parameter_is_described() {
        let document = whole("/mq");
        assert_eq!(document["servers"][0]["url"], "/mq");
        for operation in ALL {
            let told = &document["paths"][operation.path][operation.method];
            assert!(!operation.summary.0.is_empty() && !operation.summary.1.is_empty(), "{operation:?}");
            assert!(told["responses"][operation.status.to_string()].is_object(), "{operation:?}");
            for name in operation.query {
                assert_ne!(meaning(name), meaning(""), "{name} of {operation:?}");
            }
            for (name, text, _) in operation.body {
                assert!(serde_json::from_str::<Value>(text).is_ok(), "{name} of {operation:?}");
            }
        }
    }
}
