use proptest::prelude::*;
use protocol::properties;

use super::*;

/// Properties in stored form, from `name=value` separated by `;`.
fn stored(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in text.split(';').filter_map(|item| item.split_once('=')) {
        properties::push(&mut out, name, value);
    }
    out
}

/// What an expression says of properties: `true`, `false`, `null`, or `error`.
#[track_caller]
fn check(expression: &str, cases: &[(&str, &str)]) {
    let compiled = Compiled::new(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    for (given, expected) in cases {
        let bytes = stored(given);
        let read = Properties::new(&bytes);
        let found = match compiled.evaluate(&read) {
            Ok(Some(value)) => value.to_string(),
            Ok(None) => "null".to_owned(),
            Err(_) => "error".to_owned(),
        };
        assert_eq!(found, *expected, "{expression} for {given:?}");
        assert_eq!(compiled.matches(&read), found == "true");
    }
}

/// The error of an expression.
#[track_caller]
fn refused(expression: &str) -> FilterError {
    Compiled::new(expression).expect_err(expression)
}

#[test]
fn a_missing_property_is_null_on_the_left_and_false_on_the_right() {
    check("a = 'x'", &[("a=x", "true"), ("a=y", "false"), ("a=", "false"), ("", "null")]);
    check("'x' = a", &[("a=x", "true"), ("a=y", "false"), ("", "false")]);
    check("a = b", &[("a=x;b=x", "true"), ("a=x;b=y", "false"), ("a=x", "false"), ("b=x", "null"), ("", "true")]);
    check("a <> 'x'", &[("a=x", "false"), ("a=y", "true"), ("", "null")]);
    check("'x' <> a", &[("a=x", "false"), ("a=y", "true"), ("", "true")]);
    check("a > 5", &[("", "null")]);
    check("5 < a", &[("a=6", "true"), ("a=5", "false"), ("", "null")]);
}

#[test]
fn presence_is_tested_and_an_empty_text_is_present() {
    check("a IS NULL", &[("", "true"), ("a=x", "false"), ("a=", "false")]);
    check("a is not null", &[("", "false"), ("a=x", "true"), ("a=", "true")]);
    check("5 IS NULL", &[("", "false")]);
    check("a = 'x' IS NULL", &[("", "true"), ("a=y", "false")]);
}

/// Conditions that are true, false and NULL for no properties at all.
const TRUTHS: [(&str, Option<bool>); 3] = [("TRUE", Some(true)), ("FALSE", Some(false)), ("a = 1", None)];

#[test]
fn three_valued_logic() {
    let name = |value: Option<bool>| value.map_or("null".to_owned(), |value| value.to_string());
    for (left, l) in TRUTHS {
        check(&format!("NOT ({left})"), &[("", &name(l.map(|l| !l)))]);
        for (right, r) in TRUTHS {
            let and = if l == Some(false) || r == Some(false) { Some(false) } else { l.and(r) };
            let or = if l == Some(true) || r == Some(true) { Some(true) } else { l.and(r) };
            check(&format!("{left} AND {right}"), &[("", &name(and))]);
            check(&format!("{left} OR {right}"), &[("", &name(or))]);
        }
    }
}

#[test]
fn a_bare_property_is_null_or_false() {
    check("a", &[("", "null"), ("a=true", "false"), ("a=1", "false")]);
    check("a OR TRUE", &[("a=x", "true")]);
    check("NOT a", &[("", "null"), ("a=x", "true")]);
    check("TRUE", &[("", "true")]);
    check("NULL", &[("", "null")]);
}

#[test]
fn whole_numbers_are_read_in_the_width_of_the_literal() {
    check("a = 5", &[("a=5", "true"), ("a=+5", "true"), ("a=05", "true"), ("a=6", "false"), ("a=5.0", "error")]);
    check("a > 5", &[("a=6", "true"), ("a=99999999999", "error"), ("a=x", "error"), ("a=", "error")]);
    check("a > 5000000000", &[("a=99999999999", "true"), ("a=6", "false")]);
    check("a = 2147483647L", &[("a=2147483647", "true"), ("a=2147483648", "error")]);
    check("a = 2147483648", &[("a=2147483648", "true"), ("a=9223372036854775808", "error")]);
    check("a >= -5", &[("a=-5", "true"), ("a=-6", "false")]);
    check("a = - -5", &[("a=5", "true")]);
    check("a = +5", &[("a=5", "true")]);
    check("-a = 5", &[("a=-5", "null"), ("", "null")]);
}

#[test]
fn numbers_with_a_point_make_doubles_of_properties() {
    check("a > 5.0", &[("a=5.5", "true"), ("a=5", "false"), ("a=6", "true"), ("a=x", "error")]);
    check("a = .5", &[("a=0.5", "true"), ("a=5e-1", "true")]);
    check("a < 1e3", &[("a=999.9", "true"), ("a=NaN", "false")]);
    check("a = 5.", &[("a=5", "true")]);
    check("5 = 5.0", &[("", "true")]);
    check("a > b", &[("a=10;b=9.5", "true"), ("a=x;b=1", "error"), ("a=1", "null")]);
    check("a = b", &[("a=1;b=1.0", "false")]);
}

#[test]
fn truth_values_are_compared_ignoring_case() {
    check("a = TRUE", &[("a=true", "true"), ("a=TRUE", "true"), ("a=yes", "false"), ("", "null")]);
    check("a = false", &[("a=False", "true"), ("a=yes", "true"), ("a=true", "false")]);
    check("TRUE = a", &[("a=true", "error"), ("", "false")]);
    check("5 = TRUE", &[("", "false")]);
    check("'true' = TRUE", &[("", "true")]);
    check("(a = 1) = TRUE", &[("a=1", "true"), ("a=2", "false"), ("", "null")]);
}

#[test]
fn not_binds_tighter_than_a_comparison() {
    check("NOT a = 5", &[("a=5", "false"), ("a=6", "false"), ("", "null")]);
    check("NOT (a = 5)", &[("a=5", "false"), ("a=6", "true"), ("", "null")]);
    check("NOT a = TRUE", &[("a=x", "true")]);
    assert!(matches!(refused("NOT a > 5"), FilterError::NotOrdered { operator: ">", at: Span { start: 0, end: 5 } }));
}

#[test]
fn between_includes_its_bounds() {
    let cases = [("a=4", "false"), ("a=5", "true"), ("a=9", "true"), ("a=10", "false"), ("", "null"), ("a=x", "error")];
    check("a BETWEEN 5 AND 9", &cases);
    check("a NOT BETWEEN 5 AND 9", &[("a=4", "true"), ("a=5", "false"), ("a=10", "true"), ("", "null")]);
    check("a between -1.5 and 2 AND TRUE", &[("a=-1", "true"), ("a=-2", "false"), ("a=-1.5", "error")]);
    check("a between 0.5 and 1.5", &[("a=1", "true")]);
    check("a BETWEEN b AND c", &[("a=2;b=1;c=3", "true"), ("a=0;b=1", "false"), ("a=2;b=1", "null")]);
    check("a NOT BETWEEN 9 AND 5", &[("a=7", "true")]);
    assert!(matches!(refused("a BETWEEN 9 AND 5"), FilterError::Bounds { .. }));
    assert!(matches!(refused("a BETWEEN 'x' AND 'y'"), FilterError::NotOrdered { operator: "BETWEEN", .. }));
    assert!(matches!(refused("a BETWEEN NULL AND 5"), FilterError::NotOrdered { .. }));
}

#[test]
fn in_compares_text_exactly() {
    check(
        "a IN ('x', 'y z', '5')",
        &[("a=x", "true"), ("a=y z", "true"), ("a=X", "false"), ("a=5", "true"), ("", "null")],
    );
    check("a NOT IN ('x')", &[("a=x", "false"), ("a=y", "true"), ("", "null")]);
    assert!(matches!(refused("5 IN ('5')"), FilterError::NotAProperty { .. }));
    assert!(matches!(refused("a IN (5)"), FilterError::Expected { expected: "text in quotes", .. }));
    assert!(matches!(refused("a IN ()"), FilterError::Expected { .. }));
    assert!(matches!(refused("a IN ('x'"), FilterError::Expected { expected: "`,` or `)`", .. }));
}

#[test]
fn searches_are_false_for_what_is_missing_or_empty_even_when_negated() {
    check("a CONTAINS 'bc'", &[("a=abcd", "true"), ("a=acb", "false"), ("", "false")]);
    check("a STARTSWITH 'ab'", &[("a=abc", "true"), ("a=cab", "false"), ("", "false")]);
    check("a EndsWith 'bc'", &[("a=abc", "true"), ("a=bca", "false"), ("", "false")]);
    check("a NOT CONTAINS 'bc'", &[("a=abcd", "false"), ("a=acb", "true"), ("", "false")]);
    check("a NOT STARTSWITH 'ab'", &[("a=abc", "false"), ("a=cab", "true"), ("", "false")]);
    check("a NOT ENDSWITH 'bc'", &[("a=abc", "false"), ("a=bca", "true"), ("", "false")]);
    for expression in ["a CONTAINS ''", "a NOT CONTAINS ''", "a STARTSWITH ''", "a NOT ENDSWITH ''"] {
        check(expression, &[("a=x", "false"), ("", "false")]);
    }
    check("5 CONTAINS '5'", &[("", "false")]);
    check("'abc' CONTAINS 'b'", &[("", "true")]);
    check("a CONTAINS 'x' CONTAINS 'true'", &[("a=x", "false")]);
}

#[test]
fn an_error_spoils_the_whole_unless_the_answer_was_known_before() {
    check("a > 5 OR TRUE", &[("a=x", "error")]);
    check("TRUE OR a > 5", &[("a=x", "true")]);
    check("a > 5 AND FALSE", &[("a=x", "error")]);
    check("FALSE AND a > 5", &[("a=x", "false")]);
    check("b AND a > 5", &[("a=x", "error")]);
    check("'x' = 5", &[("", "error")]);
}

#[test]
fn precedence_and_chains() {
    check("TRUE OR FALSE AND FALSE", &[("", "true")]);
    check("(TRUE OR FALSE) AND FALSE", &[("", "false")]);
    check("a = 'x' = TRUE", &[("a=x", "true"), ("a=y", "false")]);
    check("a = '1' OR a = '2' OR a = '3' AND b = '4'", &[("a=2", "true"), ("a=3", "null"), ("a=3;b=4", "true")]);
}

#[test]
fn words_ignore_case_and_names_do_not() {
    check("Not (A In ('x')) aNd a iS nOt nUlL", &[("A=y;a=1", "true"), ("a=1", "null")]);
    check("$a_1 = 'x'", &[("$a_1=x", "true")]);
    check("TAGS = 'x'", &[("TAGS=x", "true")]);
    check("`a.b-c` = 'x'", &[("a.b-c=x", "true"), ("", "null")]);
    check("`NOT` = 'x'", &[("NOT=x", "true")]);
}

#[test]
fn text_may_hold_quotes_and_anything_else() {
    check("a = 'it''s'", &[("a=it's", "true")]);
    check("a = ''", &[("a=", "true"), ("a=x", "false")]);
    check("a = ''''", &[("a='", "true")]);
    check("a = '\u{20AC} -- /* \"'", &[("a=\u{20AC} -- /* \"", "true")]);
}

#[test]
fn blanks_and_comments_separate() {
    check("a=1AND b=2", &[("a=1;b=2", "true")]);
    check("\ta\n=\r1 -- the rest\n and /* no * / end */ b = 2 -- nothing", &[("a=1;b=2", "true")]);
    check("/***/a=1/**/", &[("a=1", "true")]);
}

#[test]
fn errors_say_what_and_where() {
    for (expression, text) in [
        ("", "the SQL92 expression is empty"),
        (" -- x", "the SQL92 expression is empty"),
        ("a = ", "at byte 4: expected a property, a literal, NOT or `(`, found the end"),
        ("a > 5 b", "at byte 6: expected AND, OR or the end, found `b`"),
        ("a LIKE 'x%'", "at bytes 2 to 5: expected AND, OR or the end, found `LIKE`"),
        ("a != 5", "at byte 2: `!` means nothing here"),
        ("a = 007", "at byte 5: expected AND, OR or the end, found `0`"),
        ("a = 'x", "at bytes 4 to 5: this text does not end"),
        ("a = 1 /* x", "at bytes 6 to 9: this comment does not end"),
        ("(a = 1", "at byte 6: expected an operator or `)`, found the end"),
        (
            "a = 9223372036854775808",
            "at bytes 4 to 22: `9223372036854775808` is outside what a whole number of 64 bits can be",
        ),
        ("a > 0.0", "at bytes 4 to 6: `0.0` is outside what a number with a point, which is above zero, can be"),
        ("a > 1e999", "at bytes 4 to 8: `1e999` is outside what a number with a point, which is above zero, can be"),
        ("5", "at byte 0: this is a value; a condition is needed"),
        ("a AND 'x'", "at bytes 6 to 8: this is a value; a condition is needed"),
        ("-a", "at bytes 0 to 1: this is a value; a condition is needed"),
        ("NOT 5", "at byte 4: this is a value; a condition is needed"),
        ("a > 'x'", "at bytes 4 to 6: only numbers and properties can be compared with >"),
        ("TRUE <= a", "at bytes 0 to 3: only numbers and properties can be compared with <="),
        ("a = NULL", "at bytes 4 to 7: NULL cannot be compared; use IS NULL"),
        ("TRUE = 5", "at byte 7: TRUE and FALSE cannot be compared with this literal"),
        ("a NOT 5", "at byte 6: expected BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH, found `5`"),
        ("a NOT NULL", "at bytes 6 to 9: expected BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH, found `NULL`"),
        ("a IS 5", "at byte 5: expected NULL, found `5`"),
        ("a = \u{20AC}", "at bytes 4 to 6: `\u{20AC}` means nothing here"),
    ] {
        assert_eq!(refused(expression).to_string(), text, "{expression}");
    }
}

#[test]
fn limits_are_named() {
    let long = format!("a = '{}'", "x".repeat(EXPRESSION_BYTES_MAX));
    assert_eq!(refused(&long).to_string(), "the filter expression is 16390 bytes long; the limit is 16384");
    for (open, close) in [("(", ")"), ("NOT ", ""), ("- ", ""), ("+", ""), ("NOT(", ")")] {
        let nested = |depth: usize| format!("{}a{}", open.repeat(depth), close.repeat(depth));
        assert!(matches!(refused(&nested(5_000)), FilterError::TooDeep { .. } | FilterError::TooLong { .. }), "{open}");
        assert!(matches!(refused(&nested(DEPTH_MAX)), FilterError::TooDeep { .. }), "{open}");
    }
    assert!(Compiled::new(&format!("{}a{}", "(".repeat(DEPTH_MAX - 1), ")".repeat(DEPTH_MAX - 1))).is_ok());
    let equal = format!("a{}", " = b".repeat(DEPTH_MAX));
    assert_eq!(refused(&equal).to_string(), "at bytes 0 to 256: parts lie more than 64 deep inside each other");
    let names: Vec<String> = (0..=PROPERTIES_MAX).map(|number| format!("p{number}=1")).collect();
    assert!(Compiled::new(&names[1..].join(" OR ")).is_ok());
    let error = refused(&names.join(" OR "));
    assert_eq!(error.to_string(), "at bytes 566 to 568: `p64` is one property more than the limit of 64");
    let many = vec!["a=1"; 400].join(" OR ");
    assert!(matches!(refused(&many), FilterError::TooManyParts { .. }));
    assert!(matches!(refused(&format!("a IN ('x'{})", ",''".repeat(1023))), FilterError::TooManyParts { .. }));
    let searches = vec!["a CONTAINS 'x'"; SEARCHES_MAX + 1].join(" AND ");
    assert!(matches!(refused(&searches), FilterError::TooManySearches { .. }));
}

/// Looking at the value of BETWEEN twice would double the work with each level.
#[test]
fn parts_inside_each_other_are_looked_at_once() {
    let mut text = "a".to_owned();
    for _ in 0..20 {
        text = format!("-({text} BETWEEN 1 AND 2)");
    }
    check(&format!("{text} = 1"), &[("a=1", "null")]);
}

#[test]
fn tags_are_matched_by_hash_and_by_text() {
    let filter = Filter::tags(" a ||b|| ");
    assert_eq!(filter.tag_hashes(), Some(&[97, 98][..]));
    assert!(filter.may_match(97) && !filter.may_match(0) && !filter.needs_properties());
    for (given, expected) in [("TAGS=a", true), ("TAGS=b", true), ("TAGS=c", false), ("", false)] {
        assert_eq!(filter.matches(&Properties::new(&stored(given))), expected, "{given}");
    }
    // Two tags with one hash.
    let filter = Filter::tags("Aa");
    assert!(filter.may_match(java_string_hash("BB")) && !filter.matches(&Properties::new(&stored("TAGS=BB"))));
    for everything in ["*", "", " ", "||"] {
        assert_eq!(Filter::tags(everything), Filter::All, "{everything:?}");
    }
}

#[test]
fn kinds_are_read_and_sql_looks_at_properties() {
    let kinds = ["", "TAG", "SQL92"].map(|kind| FilterKind::parse(kind).unwrap());
    assert_eq!(kinds, [FilterKind::Tag, FilterKind::Tag, FilterKind::Sql92]);
    let error = FilterKind::parse("tag").unwrap_err();
    assert_eq!(error.to_string(), "filters of type `tag` are not known; TAG and SQL92 are");
    let filter = Filter::new(FilterKind::Sql92, "a = 1").unwrap();
    assert!(filter.needs_properties() && filter.tag_hashes().is_none() && filter.may_match(7));
    assert!(filter.matches(&Properties::new(b"a\x011")) && !filter.matches(&Properties::new(b"a\x01x")));
    assert_eq!(Filter::new(FilterKind::Sql92, ""), Err(FilterError::Empty));
}

/// A condition, with what it is for any properties by the rules of the contract, written down once more.
#[derive(Clone, Debug)]
enum Said {
    Is(&'static str, i32),
    Above(&'static str, i32),
    IsText(&'static str, String),
    Missing(&'static str),
    In(&'static str, Vec<String>),
    Contains(&'static str, String),
    Not(Box<Said>),
    And(Box<Said>, Box<Said>),
    Or(Box<Said>, Box<Said>),
}

type Known = std::collections::BTreeMap<&'static str, String>;

impl Said {
    fn written(&self) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        match self {
            Said::Is(name, number) => format!("{name} = {number}"),
            Said::Above(name, number) => format!("{name} > {number}"),
            Said::IsText(name, text) => format!("{name}={}", quoted(text)),
            Said::Missing(name) => format!("{name} IS NULL"),
            Said::In(name, list) => {
                let list: Vec<String> = list.iter().map(|text| quoted(text)).collect();
                format!("{name} IN ({})", list.join(","))
            }
            Said::Contains(name, text) => format!("{name} contains {}", quoted(text)),
            Said::Not(inner) => format!("NOT ({})", inner.written()),
            Said::And(left, right) => format!("({}) AND ({})", left.written(), right.written()),
            Said::Or(left, right) => format!("({}) OR ({})", left.written(), right.written()),
        }
    }

    fn expected(&self, known: &Known) -> Result<Option<bool>, ()> {
        let number = |name: &&str| known.get(*name).map(|text| text.parse::<i32>().map_err(|_| ())).transpose();
        Ok(match self {
            Said::Is(name, wanted) => number(name)?.map(|found| found == *wanted),
            Said::Above(name, wanted) => number(name)?.map(|found| found > *wanted),
            Said::IsText(name, wanted) => known.get(name).map(|found| found == wanted),
            Said::Missing(name) => Some(!known.contains_key(name)),
            Said::In(name, list) => known.get(name).map(|found| list.contains(found)),
            Said::Contains(name, text) => {
                Some(!text.is_empty() && known.get(name).is_some_and(|found| found.contains(text.as_str())))
            }
            Said::Not(inner) => inner.expected(known)?.map(|value| !value),
            Said::And(left, right) => match left.expected(known)? {
                Some(false) => Some(false),
                left => match right.expected(known)? {
                    Some(false) => Some(false),
                    right => left.and(right),
                },
            },
            Said::Or(left, right) => match left.expected(known)? {
                Some(true) => Some(true),
                left => match right.expected(known)? {
                    Some(true) => Some(true),
                    right => left.and(right),
                },
            },
        })
    }
}

fn said() -> impl Strategy<Value = Said> {
    let name = || prop::sample::select(vec!["a", "b", "c_1"]);
    let leaf = prop_oneof![
        (name(), -3..3).prop_map(|(name, number)| Said::Is(name, number)),
        (name(), -3..3).prop_map(|(name, number)| Said::Above(name, number)),
        (name(), "[x' ]{0,2}").prop_map(|(name, text)| Said::IsText(name, text)),
        name().prop_map(Said::Missing),
        (name(), prop::collection::vec("[x' ]{0,2}", 1..4)).prop_map(|(name, list)| Said::In(name, list)),
        (name(), "[x' ]{0,2}").prop_map(|(name, text)| Said::Contains(name, text)),
    ];
    leaf.prop_recursive(5, 32, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| Said::Not(Box::new(one))),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| Said::And(Box::new(left), Box::new(right))),
            (inner.clone(), inner).prop_map(|(left, right)| Said::Or(Box::new(left), Box::new(right))),
        ]
    })
}

proptest! {
    #[test]
    fn compiled_conditions_mean_what_was_written(
        said in said(),
        known in prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c_1"]), "-?[0-3]|[x' ]{0,3}", 0..4),
    ) {
        let mut bytes = Vec::new();
        for (name, value) in &known {
            properties::push(&mut bytes, name, value);
        }
        let compiled = Compiled::new(&said.written()).unwrap();
        let found = compiled.evaluate(&Properties::new(&bytes)).map_err(|_| ());
        prop_assert_eq!(found, said.expected(&known), "{}", said.written());
    }

    #[test]
    fn any_text_is_compiled_or_refused(text in ".{0,60}", properties in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(compiled) = Compiled::new(&text) {
            let _ = compiled.evaluate(&Properties::new(&properties));
        }
    }

    #[test]
    fn any_words_are_compiled_or_refused_within_the_text(
        words in prop::collection::vec(prop::sample::select(vec![
            "a", "b", "5", "1.5", "'x'", "(", ")", ",", "=", "<>", "<", ">=", "-", "+", "NOT", "AND", "OR", "IS", "NULL",
            "TRUE", "BETWEEN", "IN", "CONTAINS", "ENDSWITH", "/*", "--", "\n",
        ]), 0..24),
    ) {
        let text = words.join(" ");
        match Compiled::new(&text) {
            Ok(compiled) => {
                let _ = compiled.evaluate(&Properties::new(b"a\x015\x02b\x01x"));
            }
            Err(FilterError::Expected { at, .. } | FilterError::NotACondition { at } | FilterError::NotOrdered { at, .. }) => {
                prop_assert!(at.start <= at.end && at.end <= text.len());
            }
            Err(_) => {}
        }
    }
}
