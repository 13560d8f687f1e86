// SPDX-License-Identifier: GPL-3.0-or-later
//! Filling templates: Jinja's language, strict. What is undefined is an error where it stands, and
//! a list is not text by itself.

use crate::bad_value::shown;
use crate::check::instead;
use crate::fleet::{Var, Vars};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// How much a template may compute (instructions of the engine) before it is taken to be endless.
const FUEL: u64 = 1_000_000;

/// The variable under which templates find what Domus knows of the machine; no other is called so.
pub(crate) const OWN: &str = "domus";

/// Why a template gives no text.
pub(super) struct Problem {
    /// Bytes of the template.
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: String,
}

/// An engine: one for all templates.
pub(super) struct Engine(Environment<'static>);

impl Engine {
    pub(super) fn new() -> Self {
        let mut engine = Environment::new();
        engine.set_undefined_behavior(UndefinedBehavior::Strict);
        engine.set_auto_escape_callback(|_| AutoEscape::None);
        engine.set_formatter(format);
        engine.set_fuel(Some(FUEL));
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .keep_trailing_newline(true)
            .build();
        // The delimiters are the usual ones, which do not contradict each other.
        engine.set_syntax(syntax.unwrap_or_default());
        Self(engine)
    }

    /// Fills the template `text`.
    pub(super) fn fill(&self, text: &str, context: &Context) -> Result<String, Problem> {
        let filled = self.0.render_named_str("", text, context.value.clone());
        filled.map_err(|error| problem(text, &error, &context.known))
    }
}

/// The variables that a template takes, `domus` and what it makes by itself left out.
pub fn variables(text: &str) -> BTreeSet<String> {
    let Engine(engine) = Engine::new();
    let template = engine.template_from_str(text);
    let all = template.map(|template| template.undeclared_variables(false));
    let mut all: BTreeSet<String> = all.unwrap_or_default().into_iter().collect();
    all.remove(OWN);
    all
}

/// What templates of a machine see: its variables, and in `domus` what Domus knows of it.
pub(super) struct Context {
    value: Value,
    /// What there is, by the names that templates have for it.
    known: Vec<String>,
}

impl Context {
    pub(super) fn new(vars: &Vars, own: BTreeMap<&'static str, Value>) -> Self {
        let known = own.keys().map(|key| format!("{OWN}.{key}"));
        let known = vars.keys().cloned().chain(known).collect();
        let vars = vars.iter().map(|(name, var)| (name.clone(), value(var)));
        let own = (OWN.to_owned(), Value::from(own));
        let all: BTreeMap<String, Value> = vars.chain([own]).collect();
        Self {
            value: Value::from(all),
            known,
        }
    }
}

fn value(var: &Var) -> Value {
    match var {
        Var::Flag(flag) => Value::from(*flag),
        Var::Number(number) => Value::from(*number),
        Var::Text(text) => Value::from(text.as_str()),
        Var::List(items) => Value::from_iter(items.iter().map(value)),
    }
}

/// Configuration files say true and false in small letters, and a list differently each.
fn format(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let refuse = |what: &str| {
        let detail = format!("this is {what}, which is no text by itself");
        Err(Error::new(ErrorKind::InvalidOperation, detail))
    };
    match value.kind() {
        ValueKind::Bool => Ok(write!(out, "{}", value.is_true())?),
        ValueKind::Seq | ValueKind::Iterable => refuse("a list"),
        ValueKind::Map => refuse("a table"),
        ValueKind::None => refuse("nothing"),
        _ => minijinja::escape_formatter(out, state, value),
    }
}

fn problem(text: &str, error: &Error, known: &[String]) -> Problem {
    let range = error.range().unwrap_or(0..0);
    let is_part = text.get(range.clone()).is_some();
    let span = if is_part { range } else { 0..0 };
    let part = shown(text[span.clone()].trim());
    let detail = error.detail().unwrap_or_default().to_owned();
    if error.kind() == ErrorKind::UndefinedError {
        let message = format!("`{part}` is not defined");
        let known = known.iter().map(String::as_str);
        let help = match known.clone().find(|name| *name == part) {
            // It is there, and something of it is not.
            Some(_) => None,
            None => instead(&part, known),
        };
        let help = match help {
            Some(help) => format!("{help}; else {UNDEFINED}"),
            None => UNDEFINED.to_owned(),
        };
        return Problem {
            span,
            message,
            help,
        };
    }
    let (message, help) = match error.kind() {
        ErrorKind::OutOfFuel => (
            "this template computes too much".to_owned(),
            "is there a loop in a loop without end?",
        ),
        ErrorKind::TemplateNotFound => (
            "a template cannot take in others".to_owned(),
            "write what it is to hold in this one",
        ),
        ErrorKind::UnknownFilter | ErrorKind::UnknownFunction | ErrorKind::UnknownTest => (
            detail,
            "there are those of Jinja that need no file, network or clock",
        ),
        _ if detail.is_empty() => (error.kind().to_string(), SYNTAX),
        ErrorKind::InvalidOperation if detail.contains("no text by itself") => (
            detail,
            "take one of its items, write a loop, or `| join(\", \")`",
        ),
        _ => (detail, SYNTAX),
    };
    Problem {
        span,
        message,
        help: help.to_owned(),
    }
}

const UNDEFINED: &str = "write it in [vars], or use `is defined` where it may be missing";
const SYNTAX: &str = "templates are written in Jinja's language: {{ value }}, {% if %}, {% for %}";

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Result<String, (String, String)> {
        let list = Var::List(vec![Var::Text("a".into()), Var::Text("b".into())]);
        let vars = [
            ("site".to_owned(), Var::Text("north <&> ü".into())),
            ("debug".to_owned(), Var::Flag(false)),
            ("port".to_owned(), Var::Number(8080)),
            ("servers".to_owned(), list),
        ];
        let own = [("name", Value::from("alpha"))];
        let context = Context::new(&vars.into(), own.into());
        let filled = Engine::new().fill(text, &context);
        filled.map_err(|problem| (text[problem.span].to_owned(), problem.message))
    }

    #[test]
    fn variables_are_filled_in_as_they_are() {
        let text = "{{ site }} {{ debug }} {{ port + 1 }} {{ domus.name }}\n";
        assert_eq!(fill(text), Ok("north <&> ü false 8081 alpha\n".into()));
        let text = "x\n  {% for s in servers %}\nserver {{ s }}\n  {% endfor %}\n";
        assert_eq!(fill(text), Ok("x\nserver a\nserver b\n".into()));
        let text = "{{ servers | join(',') }}{{ nope | default('-') }}{{ nope is defined }}";
        assert_eq!(fill(text), Ok("a,b-false".into()));
    }

    #[test]
    fn what_is_wrong_is_shown_where_it_stands() {
        let cases = [
            ("a {{ nope }}", "nope", "`nope` is not defined"),
            (
                "{{ domus.nope }}",
                "domus.nope",
                "`domus.nope` is not defined",
            ),
            (
                "ü {% if nope %}{% endif %}",
                "nope",
                "`nope` is not defined",
            ),
            (
                "{{ servers }}",
                "servers",
                "this is a list, which is no text by itself",
            ),
            (
                "{{ domus }}",
                "domus",
                "this is a table, which is no text by itself",
            ),
            (
                "{{ port | nofilter }}",
                "nofilter",
                "filter nofilter is unknown",
            ),
        ];
        for (text, place, message) in cases {
            let expected = Err((place.to_owned(), message.to_owned()));
            assert_eq!(fill(text), expected, "{text}");
        }
        let endless =
            "{% for i in range(9999) %}{% for j in range(9999) %}.{% endfor %}{% endfor %}";
        let broken = ["{% if port %}", "{{ port", "{% include 'x' %}", endless];
        for text in broken {
            let (_, message) = fill(text).expect_err(text);
            assert!(!message.is_empty(), "{text}");
        }
    }
}
