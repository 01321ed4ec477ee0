//! The description of the API, against the API.

use serde_json::{Map, Value};

use crate::browser::{Browser, Page};
use crate::cluster::{MESSAGE_ID, Scene};

/// `v1 orders broker-a 1796000000000 7F01`.
const HANDLE: &str = "djEgb3JkZXJzIGJyb2tlci1hIDE3OTYwMDAwMDAwMDAgN0YwMQ==";
const JSON: (&str, &str) = ("content-type", "application/json");

fn document(scene: &Scene) -> Value {
    serde_json::from_str(&scene.browser().get("/api/v1/openapi.json").text).unwrap()
}

/// All operations but reads last, so that nothing is missing when it is read.
fn operations(document: &Value) -> Vec<(String, String, Map<String, Value>)> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, told) in methods.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            operations.push((method.clone(), path.clone(), told.as_object().unwrap().clone()));
        }
    }
    operations.sort_by_key(|(method, ..)| method != "get");
    operations
}

fn ask(admin: &mut Browser, method: &str, path: &str, body: &Value) -> Page {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    admin.send(&method.to_uppercase(), path, &[JSON], &body)
}

fn address(admin: &mut Browser, path: &str) -> String {
    let path = path.replace("{topic}/{id}", &format!("orders/{MESSAGE_ID}")).replace("{name}/{id}", "broker-a/0");
    let path = path.replace("{topic}", "orders").replace("{group}", "workers").replace("{handle}", HANDLE);
    let path = path.replace("{client}", "%3Cscript%3Ealert(1)%3C%2Fscript%3E");
    if !path.contains("{id}") {
        return path;
    }
    let body = serde_json::json!({ "note": "x", "role": "viewer", "days": 1 });
    let made = ask(admin, "post", "/api/v1/console/tokens", &body);
    path.replace("{id}", serde_json::from_str::<Value>(&made.text).unwrap()["id"].as_str().unwrap())
}

#[track_caller]
fn has_fields(answer: &Page, schema: &Value, what: &str) {
    let told: Value = serde_json::from_str(&answer.text).unwrap_or_else(|error| panic!("{what}: {error}"));
    let schema = schema.get("oneOf").map_or(schema, |choices| &choices[0]);
    for field in schema["required"].as_array().unwrap() {
        assert!(told.get(field.as_str().unwrap()).is_some(), "{what} lacks {field}: {}", answer.text);
    }
}

#[track_caller]
fn has_summary(answer: &Page, what: &str) {
    let lines: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.last().unwrap()["summary"]["complete"], true, "{what}: {}", answer.text);
}

#[test]
fn every_operation_answers_as_the_document_says() {
    let scene = Scene::new(|_| None);
    let document = document(&scene);
    let operations = operations(&document);
    let mut admin = scene.admin();
    assert!(20 < operations.len());
    for (method, path, told) in operations {
        let what = format!("{method} {path}");
        let body =
            told.get("requestBody").map_or(Value::Null, |body| body["content"]["application/json"]["example"].clone());
        let address = address(&mut admin, &path);
        if !told["description"].as_str().unwrap().contains("guest") {
            let stranger = scene.browser().send(&method.to_uppercase(), &address, &[JSON], &body.to_string());
            assert_eq!(stranger.status, 403, "{what}");
        }
        let unknown = ask(&mut admin, &method, &format!("{address}?surely-unknown=1"), &body);
        assert_eq!(unknown.status, 400, "{what}");
        let problem = &told["responses"]["400"]["content"];
        assert!(problem[unknown.header("content-type").unwrap()].is_object(), "{what}");
        for parameter in told["parameters"].as_array().unwrap().iter().filter(|one| one["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            let page = ask(&mut admin, &method, &format!("{address}?{name}="), &Value::Null);
            assert!(!page.text.contains("there is no parameter"), "{what} {name}: {}", page.text);
        }
        let mut wrong = body.clone();
        if let Some(fields) = wrong.as_object_mut() {
            fields.insert("surely unknown".to_owned(), 1.into());
            assert_eq!(ask(&mut admin, &method, &address, &wrong).status, 400, "{what}");
        }
        let address = self::address(&mut admin, &path);
        let answer = ask(&mut admin, &method, &address, &body);
        let response = &told["responses"][answer.status.to_string()];
        assert!(answer.status < 300 && response.is_object(), "{what}: {} {}", answer.status, answer.text);
        if answer.status != 204 {
            let content = &response["content"][answer.header("content-type").unwrap()];
            assert!(content.is_object(), "{what}: {:?}", answer.header("content-type"));
            match content["schema"]["type"].as_str() {
                Some("string") => has_summary(&answer, &what),
                _ => has_fields(&answer, &content["schema"], &what),
            }
        }
        let takes_etag = told["responses"].get("304").is_some();
        assert_eq!(answer.header("etag").is_some(), takes_etag, "{what}");
    }
}

#[test]
fn the_document_is_a_page_for_people_too() {
    let scene = Scene::new(|_| None);
    let document = document(&scene);
    assert_eq!(document["openapi"], "3.1.0");
    let mut browser = scene.browser();
    let page = browser.get("/api");
    assert_eq!(page.status, 200);
    for (method, path, told) in operations(&document) {
        page.has(&format!("{} {path}", method.to_uppercase())).has(told["summary"].as_str().unwrap());
    }
    page.has("href=\"/api/v1/openapi.json\"").lacks("https://");
    browser.language = "zh";
    browser.get("/api").has("程序 API").has("主题列表");
    browser.get("/").has("href=\"/api\"");
}
