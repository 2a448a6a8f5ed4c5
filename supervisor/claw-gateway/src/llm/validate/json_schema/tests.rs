use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::llm::wire::{Api, Request};

fn schema() -> Schema {
    compiled(&json!({
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"$ref": "#/$defs/name"}, "age": {"type": "integer"}},
        "$defs": {"name": {"type": "string", "pattern": "^[a-z]+$"}},
    }))
}

fn compiled(schema: &Value) -> Schema {
    Schema::compile(schema).expect("a schema")
}

fn refused(schema: &Value) -> BadSchema {
    Schema::compile(schema).expect_err("no schema that can be used")
}

fn violation(path: &str, message: &str, rule: &str) -> Violation {
    Violation {
        path: path.to_owned(),
        message: message.to_owned(),
        rule: rule.to_owned(),
    }
}

#[test]
fn an_answer_that_follows_its_schema_passes_with_its_json() {
    let answer = schema().check(" {\"name\": \"jane\", \"age\": 3}\n");
    assert_eq!(answer, Ok(json!({"name": "jane", "age": 3})));
}

#[test]
fn what_is_wrong_is_told_with_its_place_in_order() {
    for _ in 0..20 {
        let wrong = schema().check(r#"{"name":"7","age":"x"}"#);
        let expected = vec![
            violation(
                "/age",
                "want integer, but got string",
                "/properties/age/type",
            ),
            violation(
                "/name",
                "'7' does not match pattern '^[a-z]+$'",
                "/$defs/name/pattern",
            ),
        ];
        assert_eq!(wrong, Err(expected));
    }
    for (answer, expected) in [
        ("[]", "the answer: want object, but got array"),
        ("{}", "the answer: missing properties 'name'"),
        (
            "sure: {}",
            "the answer: not JSON: expected value at line 1 column 1",
        ),
        (
            "",
            "the answer: not JSON: EOF while parsing a value at line 1 column 0",
        ),
    ] {
        let wrong = schema().check(answer).expect_err("violations");
        assert_eq!(wrong[0].to_string(), expected);
    }
}

#[test]
fn a_rule_quotes_no_answer() {
    let rules = |answer: &str| -> Vec<String> {
        let wrong = schema().check(answer).expect_err("violations");
        wrong.into_iter().map(|violation| violation.rule).collect()
    };
    let pattern = ["/$defs/name/pattern"];
    assert_eq!(rules(r#"{"name":"SECRET"}"#), pattern);
    assert_eq!(rules("SECRET"), ["not JSON"]);
    assert_eq!(
        rules(&" ".repeat(MAX_ANSWER + 1)),
        ["too long to be checked"]
    );
}

#[test]
fn every_branch_of_a_choice_tells_what_it_misses() {
    let schema = compiled(&json!({"anyOf": [
        {"required": ["a"]},
        {"properties": {"b": {"type": "string"}}, "required": ["b"]},
    ]}));
    assert!(schema.check(r#"{"a":1}"#).is_ok());
    let wrong = schema.check(r#"{"b":1}"#).expect_err("violations");
    let expected = [
        violation("", "missing properties 'a'", "/anyOf/0/required"),
        violation(
            "/b",
            "want string, but got number",
            "/anyOf/1/properties/b/type",
        ),
    ];
    assert_eq!(wrong, expected);
}

#[test]
fn json_may_stand_in_a_fence_of_markdown_and_in_nothing_else() {
    let schema = schema();
    for text in [
        "```json\n{\"name\":\"jane\"}\n```",
        "\n```\n{\"name\":\"jane\"}\n```\n\n",
        "```` JSON\r\n{\"name\":\"jane\"}\r\n````",
    ] {
        assert_eq!(schema.check(text), Ok(json!({"name": "jane"})), "{text}");
    }
    for text in [
        "Here it is:\n```json\n{\"name\":\"jane\"}\n```",
        "```json\n{\"name\":\"jane\"}\n```\nAnything else?",
        "```json\n{\"name\":\"jane\"}\n``` ```json\n{\"name\":\"jim\"}\n```",
        "```json\n{\"name\":\"jane\"}",
        "````\n{\"name\":\"jane\"}\n```",
        "``\n{\"name\":\"jane\"}\n``",
        "```",
    ] {
        assert!(schema.check(text).is_err(), "{text}");
    }
}

#[test]
fn violations_are_bounded_in_number_and_length() {
    let schema = compiled(&json!({"items": {"enum": ["a", "b"]}, "maxItems": 1}));
    let answer = json!(vec!["x".repeat(10_000); 100]).to_string();
    let wrong = schema.check(&answer).expect_err("violations");
    assert_eq!(wrong.len(), MAX_VIOLATIONS);
    let long = compiled(&json!({"pattern": "^a$"}));
    let wrong = long.check(&json!("é".repeat(10_000)).to_string());
    let wrong = wrong.expect_err("violations");
    assert_eq!(wrong[0].message.chars().count(), MAX_TEXT);
}

#[test]
fn every_draft_is_known_and_formats_are_enforced_in_each() {
    for draft in [
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ] {
        let schema = compiled(&json!({"$schema": draft, "format": "date"}));
        assert!(schema.check("\"2026-02-28\"").is_ok(), "{draft}");
        assert!(schema.check("\"2026-02-30\"").is_err(), "{draft}");
    }
    // What is the second of these differs between drafts: here the first element, there any.
    let tuple = json!({"items": [{"type": "string"}], "additionalItems": false});
    assert!(Schema::compile(&tuple).is_err());
    let mut old = tuple;
    old["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    assert!(compiled(&old).check(r#"["a","b"]"#).is_err());
}

#[test]
fn nothing_is_fetched_for_a_schema() {
    for reference in [
        "https://example.com/schema.json",
        "file:///etc/hostname",
        "other.json",
        "#anchor",
        "#/$defs/missing",
        "#/$defs/a%20b",
    ] {
        for keyword in ["$ref", "$dynamicRef", "$recursiveRef"] {
            let schema =
                json!({"properties": {"a/b": {keyword: reference}}, "$defs": {"a b": true}});
            let expected = BadSchema::LeadsOut {
                place: "/properties/a~1b".to_owned(),
                reference: reference.to_owned(),
            };
            assert_eq!(refused(&schema), expected);
        }
    }
    let unknown = json!({"$schema": "https://example.com/draft"});
    assert!(matches!(refused(&unknown), BadSchema::Invalid { .. }));
    // Through data, which is not looked into, nothing is fetched either.
    let hidden = json!({"$ref": "#/const", "const": {"$ref": "file:///etc/hostname"}});
    assert!(matches!(refused(&hidden), BadSchema::Invalid { .. }));
}

#[test]
fn a_schema_has_one_id_at_most_and_it_changes_nothing() {
    let named = json!({
        "$id": "https://example.com/answer.json",
        "properties": {"id": {"$ref": "#/$defs/id"}, "$ref": {"type": "string"}},
        "$defs": {"id": {"type": "integer"}},
        "examples": [{"$ref": "no reference", "$id": "no id"}],
    });
    let schema = compiled(&named);
    assert!(schema.check(r#"{"id":1,"$ref":"x"}"#).is_ok());
    assert!(schema.check(r#"{"id":"1"}"#).is_err());
    assert!(schema.check(r#"{"$ref":1}"#).is_err());
    let place = "/$defs/id".to_owned();
    let inner = json!({"$defs": {"id": {"$id": "other.json"}}});
    assert_eq!(refused(&inner), BadSchema::Named { place });
}

#[test]
fn what_is_no_schema_is_refused_with_its_place() {
    let typo = refused(&json!({"properties": {"a": {"type": "strin"}}}));
    let text = typo.to_string();
    assert!(text.starts_with("/properties/a/type: "), "{text}");
    for schema in [
        json!({"pattern": "(a)\\1"}),
        json!({"pattern": "(?=a)b"}),
        json!({"minLength": -1}),
        json!("string"),
        json!(null),
    ] {
        let refused = refused(&schema);
        assert!(matches!(refused, BadSchema::Invalid { .. }), "{refused}");
    }
}

#[test]
fn multiples_of_whole_numbers_alone_can_be_asked_for() {
    let prices = json!({"properties": {"price": {"multipleOf": 0.01}}});
    let place = "/properties/price".to_owned();
    assert_eq!(refused(&prices), BadSchema::Fraction { place });
    for even in [json!({"multipleOf": 2}), json!({"multipleOf": 2.0})] {
        assert!(compiled(&even).check("4").is_ok());
        assert!(compiled(&even).check("5").is_err());
    }
}

#[test]
fn a_schema_is_bounded_in_size_and_depth() {
    let long = json!({"description": "x".repeat(MAX_SCHEMA)});
    assert!(matches!(refused(&long), BadSchema::TooLong { .. }));
    let nested = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({"not": inner}));
    assert_eq!(refused(&nested(MAX_DEPTH)), BadSchema::TooDeep);
    assert!(Schema::compile(&nested(MAX_DEPTH - 1)).is_ok());
    assert_eq!(refused(&nested(2 * MAX_DEPTH)), BadSchema::TooDeep);
}

/// An object in an object in an object, each as the member `a`.
fn nested(levels: usize) -> String {
    format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
}

#[test]
fn a_schema_that_follows_itself_is_checked_to_the_depth_of_any_json() {
    let tree = compiled(&json!({
        "anyOf": [{"type": "integer"}, {"$ref": "#/$defs/node"}],
        "$defs": {"node": {"properties": {"a": {"$ref": "#/$defs/node"}}}},
    }));
    assert!(tree.check(&nested(100)).is_ok());
    let too_deep = tree.check(&nested(200)).expect_err("violations");
    assert!(too_deep[0].message.starts_with("not JSON: recursion limit"));
}

#[test]
fn a_check_whose_work_doubles_with_each_level_does_not_run() {
    let doubling = compiled(&json!({
        "anyOf": [
            {"properties": {"a": {"$ref": "#"}}, "required": ["b"]},
            {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
            {"type": "integer"},
        ],
    }));
    assert!(doubling.check(&nested(6)).is_ok());
    let wrong = doubling.check(&nested(60)).expect_err("too much work");
    assert_eq!(wrong.len(), 1);
    assert!(
        wrong[0].message.starts_with("nested too deep"),
        "{}",
        wrong[0]
    );
}

#[test]
fn a_schema_without_end_lets_nothing_pass() {
    for endless in [
        json!({"$ref": "#"}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#"}]}}}),
    ] {
        if let Ok(schema) = Schema::compile(&endless) {
            assert!(schema.check("{}").is_err(), "{endless}");
        }
    }
}

#[test]
fn the_deepest_check_that_runs_fits_into_its_stack() {
    // Every level of the answer follows references through all schemas, one into the next.
    let mut definitions = serde_json::Map::new();
    for at in 0..260 {
        let next = format!("#/$defs/{}", at + 1);
        definitions.insert(at.to_string(), json!({"allOf": [{"$ref": next}]}));
    }
    definitions.insert("260".to_owned(), json!({"type": "integer"}));
    let chain = |from: u32| {
        let start = format!("#/$defs/{from}");
        compiled(&json!({"$ref": start, "$defs": definitions.clone()}))
    };
    assert!(chain(6).check("1").is_ok());
    assert!(chain(6).check("\"1\"").is_err());
    let wrong = chain(0).check("1").expect_err("nested too deep");
    assert!(
        wrong[0].message.starts_with("nested too deep"),
        "{}",
        wrong[0]
    );
}

#[test]
fn an_answer_that_is_too_long_does_not_pass() {
    let any = compiled(&json!(true));
    let answer = |length: usize| json!("x".repeat(length - 2)).to_string();
    assert!(any.check(&answer(MAX_ANSWER)).is_ok());
    assert!(any.check(&answer(MAX_ANSWER + 1)).is_err());
}

fn repaired(api: Api, body: &str, answer: &str) -> Value {
    let request = Request::read(api, body.into()).expect("a request");
    let violations = [
        violation("/age", "not an integer", ""),
        violation("", "missing properties 'name'", ""),
    ];
    let repaired = repair(&request, answer, &violations).expect("a repair");
    let again = Request::read(api, repaired.clone().into_bytes()).expect("a request again");
    assert_eq!((again.model, again.limit), (request.model, request.limit));
    serde_json::from_str(&repaired).expect("JSON")
}

#[test]
fn a_repair_is_the_same_request_with_the_answer_and_what_is_wrong() {
    let first = json!({"role": "user", "content": "x"});
    for (api, body, field) in [
        (
            Api::ChatCompletions,
            r#"{"model":"m","messages":[{"role":"user","content":"x"}],"n":1,"own":[1.0]}"#,
            "messages",
        ),
        (
            Api::Messages,
            r#"{"model":"m","max_tokens":9,"messages": [ {"role":"user","content":"x"} ]}"#,
            "messages",
        ),
        (Api::Responses, r#"{"model":"m","input":"x"}"#, "input"),
        (
            Api::Responses,
            r#"{"model":"m","input":[{"role":"user","content":"x"}]}"#,
            "input",
        ),
    ] {
        let asked = repaired(api, body, "{\"age\":1.5}");
        let turns = asked[field].as_array().expect("turns");
        assert_eq!(turns.len(), 3, "{asked}");
        assert_eq!(turns[0], first);
        assert_eq!(
            turns[1],
            json!({"role": "assistant", "content": "{\"age\":1.5}"})
        );
        assert_eq!(turns[2]["role"], "user");
        let demand = turns[2]["content"].as_str().expect("a text");
        let named = "\n- /age: not an integer\n- the answer: missing properties 'name'";
        assert!(demand.ends_with(named), "{demand}");
    }
}

#[test]
fn an_answer_without_text_is_no_turn_of_a_repair() {
    let body = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#;
    let asked = repaired(Api::Messages, body, " \n");
    assert_eq!(asked["messages"].as_array().map(Vec::len), Some(2));
}

#[test]
fn embeddings_are_not_repaired() {
    let body = r#"{"model":"m","input":"x"}"#;
    let request = Request::read(Api::Embeddings, body.into()).expect("a request");
    assert_eq!(repair(&request, "{}", &[]), None);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-c#$/]{0,6}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("$ref"),
        Just("allOf"),
        Just("anyOf"),
        Just("not"),
        Just("items"),
        Just("properties"),
        Just("additionalProperties"),
        Just("patternProperties"),
        Just("enum"),
        Just("type"),
        Just("a"),
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(key.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_schema_and_no_answer_is_too_odd(schema in any_json(), answer in any_json()) {
        if let Ok(schema) = Schema::compile(&schema) {
            let text = answer.to_string();
            match schema.check(&text) {
                Ok(read) => prop_assert_eq!(read, answer),
                Err(violations) => prop_assert!((1..=MAX_VIOLATIONS).contains(&violations.len())),
            }
        }
    }

    #[test]
    fn a_fence_changes_nothing(answer in any_json()) {
        let schema = schema();
        let plain = answer.to_string();
        let fenced = format!("```json\n{plain}\n```");
        prop_assert_eq!(schema.check(&plain), schema.check(&fenced));
    }
}
