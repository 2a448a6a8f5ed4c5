//! Answers that have to follow a JSON schema, of Draft 4 to 2020-12.
//!
//! A schema is read once, with the configuration, and nothing is ever fetched for it. A check takes
//! bounded work, whatever the answer is: one that would take more does not pass.

mod effort;
mod fence;
mod outline;
mod repair;

use std::fmt;
use std::sync::Arc;
use std::thread;

use boon::{CompileError, Compiler, ErrorKind, SchemaIndex, Schemas, UrlLoader, ValidationError};
use serde_json::Value;

use crate::llm::wire::escaped;

pub use repair::repair;

/// The longest schema, in bytes of JSON.
pub const MAX_SCHEMA: usize = 64 * 1024;

/// How deep a schema may nest.
pub const MAX_DEPTH: usize = 64;

/// The longest answer that is checked, in bytes.
pub const MAX_ANSWER: usize = 1024 * 1024;

/// The most violations that are told of one answer.
pub const MAX_VIOLATIONS: usize = 10;

/// The longest place or message of a violation, in characters: either may quote the answer.
const MAX_TEXT: usize = 256;

/// The stack of the thread that reads a schema or checks an answer, in bytes; only what is used of it
/// becomes memory. The library recurses with the schema, and without optimization the deepest check
/// that [`effort`] lets run needs a fifth of this.
const STACK: usize = 32 * 1024 * 1024;

/// The name under which a schema is prepared; nobody sees it.
const NAME: &str = "schema:answer";

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchema {
    /// It is longer than [`MAX_SCHEMA`].
    #[error(
        "the schema has {bytes} bytes, and {MAX_SCHEMA} are allowed; leave out what answers need not follow"
    )]
    TooLong {
        /// Its length as JSON.
        bytes: usize,
    },
    /// It nests deeper than [`MAX_DEPTH`].
    #[error("the schema nests deeper than {MAX_DEPTH} levels; put parts of it into `$defs`")]
    TooDeep,
    /// It refers to something else than a place in itself.
    #[error(
        "`{reference}` at {place} does not lead to a place in the schema; nothing is fetched, so \
         copy it into `$defs` and write `#/$defs/…`"
    )]
    LeadsOut {
        /// Where, as a JSON pointer (RFC 6901).
        place: String,
        /// To what.
        reference: String,
    },
    /// A part of it has a name of its own, which changes what references in it mean.
    #[error("the part at {place} has an id of its own; only the whole schema may have one")]
    Named {
        /// Where, as a JSON pointer (RFC 6901).
        place: String,
    },
    /// It asks for multiples of a fraction. Numbers are checked as floats, where 19.99 is no multiple
    /// of 0.01.
    #[error(
        "`multipleOf` at {place} has a fraction; use a whole number, or count in smaller units"
    )]
    Fraction {
        /// Where, as a JSON pointer (RFC 6901).
        place: String,
    },
    /// It could not be looked at.
    #[error("the schema could not be read, because the system gave no thread for it; try again")]
    Unread,
    /// It is no JSON schema of the draft it names.
    #[error("{place}: {reason}")]
    Invalid {
        /// Where, in words or as a JSON pointer (RFC 6901).
        place: String,
        /// What is wrong.
        reason: String,
    },
}

/// One way in which an answer does not follow its schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Where, as a JSON pointer (RFC 6901); empty for all of the answer.
    pub path: String,
    /// What is wrong there. It may quote the answer.
    pub message: String,
    /// The rule, by its place in the schema or by what no answer may be. It quotes the schema at most.
    pub rule: String,
}

impl Violation {
    fn new(path: &str, message: &str, rule: &str) -> Self {
        Self {
            path: shortened(path),
            message: shortened(message),
            rule: shortened(rule),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            write!(f, "the answer: {}", self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// A schema, ready for answers. A copy of it is cheap.
#[derive(Clone)]
pub struct Schema(Arc<Compiled>);

struct Compiled {
    source: Value,
    schemas: Schemas,
    root: SchemaIndex,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(&self.0.source).finish()
    }
}

impl Schema {
    /// Prepares a schema.
    ///
    /// It is of the draft that its `$schema` names, else of 2020-12. References lead into the schema
    /// itself, as `#` or `#/…`. `format` is enforced in every draft, as whoever writes one expects.
    /// Patterns are matched in linear time, so those that look around or back are refused. Numbers are
    /// compared as 64-bit floats, so whole ones beyond 2⁵³ are not told from their neighbours.
    ///
    /// # Errors
    /// With what is wrong with it, and where.
    pub fn compile(schema: &Value) -> Result<Self, BadSchema> {
        outline::check(schema)?;
        let bytes = schema.to_string().len();
        if bytes > MAX_SCHEMA {
            return Err(BadSchema::TooLong { bytes });
        }
        let source = outline::without_name(schema);
        let compiled = on_own_stack(|| Compiled::new(source)).ok_or(BadSchema::Unread)?;
        Ok(Self(Arc::new(compiled?)))
    }

    /// Prepares a schema that is written as JSON.
    ///
    /// # Errors
    /// When it is none, and as with [`compile`](Self::compile).
    pub fn read(schema: &str) -> Result<Self, BadSchema> {
        let schema: Value = serde_json::from_str(schema).map_err(|error| BadSchema::Invalid {
            place: "the schema".to_owned(),
            reason: shortened(&error.to_string()),
        })?;
        Self::compile(&schema)
    }

    /// Checks the text of an answer and gives its JSON. The text may stand in one Markdown fence, as
    /// models like to write it, but with nothing around the fence.
    ///
    /// It runs in a thread of its own, for which the caller waits: mostly well under a millisecond,
    /// and a second at most.
    ///
    /// # Errors
    /// With what is wrong: up to [`MAX_VIOLATIONS`], in the order of their places. What cannot be
    /// checked is wrong as a whole.
    pub fn check(&self, text: &str) -> Result<Value, Vec<Violation>> {
        let checked = on_own_stack(|| self.0.check(text));
        let failed = "not checked, because the check itself failed";
        checked.unwrap_or_else(|| Err(whole(failed, failed)))
    }
}

impl Compiled {
    fn new(source: Value) -> Result<Self, BadSchema> {
        let mut compiler = Compiler::new();
        compiler.use_loader(Box::new(NothingIsFetched));
        compiler.enable_format_assertions();
        let mut schemas = Schemas::new();
        compiler
            .add_resource(NAME, source.clone())
            .map_err(|error| invalid(&error))?;
        let root = compiler
            .compile(NAME, &mut schemas)
            .map_err(|error| invalid(&error))?;
        Ok(Self {
            source,
            schemas,
            root,
        })
    }

    fn check(&self, text: &str) -> Result<Value, Vec<Violation>> {
        let bytes = text.len();
        if bytes > MAX_ANSWER {
            let message = format!("{bytes} bytes long, and {MAX_ANSWER} are checked at most");
            return Err(whole(&message, "too long to be checked"));
        }
        let answer: Value = serde_json::from_str(fence::inside(text))
            .map_err(|error| whole(&format!("not JSON: {error}"), "not JSON"))?;
        if effort::is_too_much(&self.source, &answer) {
            let message = "nested too deep or too large to be checked against this schema";
            return Err(whole(message, message));
        }
        let checked = self.schemas.validate(&answer, self.root);
        let violations = checked.err().map(|error| violations(&error));
        match violations {
            Some(violations) => Err(violations),
            None => Ok(answer),
        }
    }
}

/// Does work that recurses deep; `None` when there is no thread for it, or it panics.
fn on_own_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(STACK);
        let running = builder.spawn_scoped(scope, work).ok()?;
        running.join().ok()
    })
}

/// A violation of the answer as a whole.
fn whole(message: &str, rule: &str) -> Vec<Violation> {
    vec![Violation::new("", message, rule)]
}

/// What is done about an answer that does not follow its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnViolation {
    /// The model is asked once more, with what is wrong; an answer that is still wrong is blocked.
    Repair,
    /// The answer does not pass.
    Block,
    /// The answer passes, and what is wrong is told.
    Warn,
}

/// The schema of an agent's answers.
#[derive(Debug, Clone)]
pub struct SchemaRule {
    /// What answers have to follow.
    pub schema: Schema,
    /// What is done about those that do not.
    pub on_violation: OnViolation,
}

struct NothingIsFetched;

impl UrlLoader for NothingIsFetched {
    fn load(&self, _url: &str) -> Result<Value, Box<dyn std::error::Error>> {
        Err("schemas are not fetched".into())
    }
}

fn invalid(error: &CompileError) -> BadSchema {
    if let CompileError::ValidationError { src, .. } = error
        && let Some(first) = violations(src).into_iter().next()
    {
        let place = if first.path.is_empty() {
            "the schema".to_owned()
        } else {
            first.path
        };
        return BadSchema::Invalid {
            place,
            reason: first.message,
        };
    }
    // The long form tells the cause.
    BadSchema::Invalid {
        place: "the schema".to_owned(),
        reason: shortened(&format!("{error:#}")),
    }
}

/// The violations at the leaves of an error, each once: branches say only that something below them
/// is wrong. They are in order because the library's is another one each time.
fn violations(error: &ValidationError<'_, '_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut open = vec![error];
    while let Some(error) = open.pop() {
        if error.causes.is_empty() {
            let path = error.instance_location.to_string();
            let (_name, place) = error.schema_url.split_once('#').unwrap_or_default();
            let rule = match (keyword(&error.kind), place) {
                ("", "") => "the schema".to_owned(),
                ("", place) => place.to_owned(),
                (keyword, place) => format!("{place}/{keyword}"),
            };
            found.push(Violation::new(&path, &error.kind.to_string(), &rule));
        } else {
            open.extend(&error.causes);
        }
    }
    found.sort();
    // Branches of a schema may say the same of one place.
    found.dedup_by(|next, kept| (&next.path, &next.message) == (&kept.path, &kept.message));
    found.truncate(MAX_VIOLATIONS);
    found
}

/// The keyword of the commonest rules; nothing for others, whose place in the schema has to do.
fn keyword(kind: &ErrorKind<'_, '_>) -> &'static str {
    match kind {
        ErrorKind::Type { .. } => "type",
        ErrorKind::Enum { .. } => "enum",
        ErrorKind::Const { .. } => "const",
        ErrorKind::Format { .. } => "format",
        ErrorKind::Required { .. } => "required",
        ErrorKind::AdditionalProperties { .. } => "additionalProperties",
        ErrorKind::MinItems { .. } => "minItems",
        ErrorKind::MaxItems { .. } => "maxItems",
        ErrorKind::MinLength { .. } => "minLength",
        ErrorKind::MaxLength { .. } => "maxLength",
        ErrorKind::Pattern { .. } => "pattern",
        ErrorKind::Minimum { .. } => "minimum",
        ErrorKind::Maximum { .. } => "maximum",
        ErrorKind::Group
        | ErrorKind::Schema { .. }
        | ErrorKind::ContentSchema
        | ErrorKind::PropertyName { .. }
        | ErrorKind::Reference { .. }
        | ErrorKind::RefCycle { .. }
        | ErrorKind::FalseSchema
        | ErrorKind::MinProperties { .. }
        | ErrorKind::MaxProperties { .. }
        | ErrorKind::Dependency { .. }
        | ErrorKind::DependentRequired { .. }
        | ErrorKind::Contains
        | ErrorKind::MinContains { .. }
        | ErrorKind::MaxContains { .. }
        | ErrorKind::UniqueItems { .. }
        | ErrorKind::AdditionalItems { .. }
        | ErrorKind::ContentEncoding { .. }
        | ErrorKind::ContentMediaType { .. }
        | ErrorKind::ExclusiveMinimum { .. }
        | ErrorKind::ExclusiveMaximum { .. }
        | ErrorKind::MultipleOf { .. }
        | ErrorKind::Not
        | ErrorKind::AllOf
        | ErrorKind::AnyOf
        | ErrorKind::OneOf(_) => "",
    }
}

fn shortened(text: &str) -> String {
    escaped(text, MAX_TEXT)
}

#[cfg(test)]
mod tests;
