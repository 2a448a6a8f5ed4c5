use super::*;

fn table(rows: &str) -> PriceTable {
    PriceTable::from_json(rows).unwrap()
}

const OLD: &str = r#"[
    {"provider": "p", "model": "kept", "rates": {"tokens": [{"input": 1, "output": 2}]},
     "checked_on": "2026-01-01"},
    {"provider": "p", "model": "m", "aliases": ["m-old"], "max_output": 4096,
     "rates": {"tokens": [{"input": 1, "output": 2}],
               "service": {"flex": [{"input": 0.5, "output": 1}]}},
     "checked_on": "2026-01-01"}
]"#;

fn new(model: &str, input: &str, output: &str) -> Vec<Entry> {
    let row = format!(
        r#"[{{"provider": "p", "model": "{model}", "aliases": ["{model}-new"],
            "rates": {{"tokens": [{{"input": {input}, "output": {output}}}]}},
            "checked_on": "2026-11-22"}}]"#
    );
    table(&row).entries().cloned().collect()
}

#[test]
fn a_merge_changes_what_is_named_and_deletes_nothing() {
    let mut merged = table(OLD);
    let diff = merged.merge(new("m", "1.5", "2"), LargeChanges::Refuse);
    assert_eq!(
        diff.to_string(),
        "~ p m: input 1.00 -> 1.50, cache read 1.00 -> 1.50, cache write 1.00 -> 1.50, \
         cache write 1h 1.00 -> 1.50\n0 unchanged"
    );
    let entry = merged.lookup("p", "m-old").expect("an old alias");
    assert_eq!(merged.lookup("p", "m-new"), Some(entry));
    assert_eq!(entry.max_output, Some(4096));
    assert!(entry.rates.service.contains_key("flex"));
    assert_eq!(entry.checked_on.to_string(), "2026-11-22");
    assert!(merged.lookup("p", "kept").is_some());
}

#[test]
fn what_is_new_is_added_and_what_is_the_same_counted() {
    let mut merged = table(OLD);
    let entries = [new("fresh", "3", "4"), new("m", "1", "2")].concat();
    let diff = merged.merge(entries, LargeChanges::Refuse);
    assert_eq!(
        diff.to_string(),
        "+ p fresh: input 3.00, output 4.00\n1 unchanged"
    );
    assert!(merged.lookup("p", "fresh").is_some());
}

#[test]
fn a_price_is_not_changed_tenfold_by_accident() {
    for (input, output) in [
        ("10.000001", "2"),
        ("0.099999", "2"),
        ("1", "0"),
        ("1", "21"),
    ] {
        let mut merged = table(OLD);
        let before = merged.clone();
        let diff = merged.merge(new("m", input, output), LargeChanges::Refuse);
        assert_eq!(diff.refused.len(), 1, "{input} {output}");
        assert_eq!(merged, before);
        let diff = merged.merge(new("m", input, output), LargeChanges::Take);
        assert_eq!(diff.changed.len(), 1);
        assert_ne!(merged, before);
    }
    let diff = table(OLD).merge(new("m", "10", "0.2"), LargeChanges::Refuse);
    assert_eq!(diff.changed.len(), 1, "tenfold is not more than tenfold");
}
