//! From the events of the YAML parser to a [`Node`] tree: anchors, merge keys, budgets.

use std::collections::{BTreeMap, BTreeSet};

use granit_parser::{Event, Parser, ScalarStyle, StrInput, Tag};

use super::diagnostic::{Code, Diagnostic, Problems};
use super::source::Source;
use super::syntax;
use super::tree::{Entry, Extent, FileId, Map, Node, Origin, Scalar, Span, Style, Value};

/// The deepest nesting, anchors followed. A fleet file needs 8.
const MAX_DEPTH: usize = 64;
/// The most values and keys of all files together, anchors followed.
const MAX_NODES: usize = 50_000;

/// What may still be read before a fleet counts as too large.
#[derive(Debug)]
pub(super) struct Budget {
    nodes: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { nodes: MAX_NODES }
    }

    fn spend(&mut self, nodes: usize) -> Result<(), Stop> {
        self.nodes = self.nodes.checked_sub(nodes).ok_or(Stop::TooMany)?;
        Ok(())
    }
}

/// Parses a file; `None` when a problem was found after which nothing can be trusted.
pub(super) fn parse(
    file: FileId,
    source: &Source,
    budget: &mut Budget,
    problems: &mut Problems,
) -> Option<Node> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder {
        file,
        source,
        parser: Parser::new_from_str_with_options(&source.text, options),
        anchors: BTreeMap::new(),
        budget,
        problems,
    };
    match builder.document() {
        Ok(node) => Some(node),
        Err(stop) => {
            let problem = builder.explain(stop);
            builder.problems.push(problem);
            None
        }
    }
}

/// Why reading ends.
enum Stop {
    Scan(granit_parser::ScanError),
    TooMany,
    TooDeep(Span),
    Empty,
    SecondDocument(Span),
    SelfReference(Span),
    EndedEarly,
}

/// A finished node that aliases may name.
struct Anchored {
    node: Node,
    extent: Extent,
}

struct Builder<'a> {
    file: FileId,
    source: &'a Source,
    parser: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, Anchored>,
    budget: &'a mut Budget,
    problems: &'a mut Problems,
}

impl<'a> Builder<'a> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the parser's enum is not exhaustive"
    )]
    fn document(&mut self) -> Result<Node, Stop> {
        let node = loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd | Event::DocumentEnd => return Err(Stop::Empty),
                event => break self.node(event, span, 1)?,
            }
        };
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::DocumentEnd => {}
                Event::StreamEnd => break,
                _ => return Err(Stop::SecondDocument(span)),
            }
        }
        let nothing_written = matches!(node.value, Value::Null) && node.span.start == node.span.end;
        if nothing_written {
            return Err(Stop::Empty);
        }
        Ok(node)
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        match self.parser.next() {
            Some(Ok((event, span))) => {
                let span = self.span(&span);
                Ok((event, span))
            }
            Some(Err(error)) => Err(Stop::Scan(error)),
            None => Err(Stop::EndedEarly),
        }
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        let byte = |marker: &granit_parser::Marker| {
            self.source
                .floor(marker.byte_offset().unwrap_or(self.source.text.len()))
        };
        let start = byte(&span.start);
        let end = byte(&span.end).max(start);
        let written = self.source.text[start..end].trim_end().len();
        Span {
            file: self.file,
            start,
            end: start + written,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the parser's enum is not exhaustive"
    )]
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::TooDeep(span));
        }
        self.budget.spend(1)?;
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(text.into_owned(), style, tag.as_deref(), span);
                (anchor, Node { span, value })
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span);
                (anchor, self.list(span, depth)?)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span);
                (anchor, self.map(span, depth)?)
            }
            Event::Alias(id) => return self.alias(id, span, depth),
            _ => return Err(Stop::EndedEarly),
        };
        if anchor > 0 {
            let anchored = Anchored {
                node: node.clone(),
                extent: node.extent(),
            };
            self.anchors.insert(anchor, anchored);
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, span: Span, depth: usize) -> Result<Node, Stop> {
        let anchored = self.anchors.get(&id).ok_or(Stop::SelfReference(span))?;
        self.budget.spend(anchored.extent.nodes)?;
        if depth + anchored.extent.depth > MAX_DEPTH {
            return Err(Stop::TooDeep(span));
        }
        Ok(anchored.node.clone())
    }

    fn list(&mut self, start: Span, depth: usize) -> Result<Node, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                let span = Span {
                    end: span.end.max(start.end),
                    ..start
                };
                let value = Value::List(items);
                return Ok(Node { span, value });
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, start: Span, depth: usize) -> Result<Node, Stop> {
        let mut map = Map::default();
        let mut seen = BTreeMap::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key_is_merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.node(event, span, depth + 1)?;
            let key_span = key.span;
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            if key_is_merge {
                merged.push((key_span, node));
                continue;
            }
            let Some(key) = self.key(key) else { continue };
            if let Some(first) = seen.insert(key.clone(), key_span) {
                self.duplicate(&key, key_span, first);
                continue;
            }
            map.entries.push(Entry {
                key,
                key_span,
                node,
                origin: Origin::Own,
            });
        }
        for (key_span, node) in merged {
            self.merge(&mut map, key_span, node);
        }
        let value = Value::Map(map);
        Ok(Node { span: start, value })
    }

    fn key(&mut self, key: Node) -> Option<String> {
        match key.value {
            Value::Text(scalar) => Some(scalar.text),
            Value::Null | Value::List(_) | Value::Map(_) => {
                let message = format!("a key must be text, found {}", key.kind());
                self.problems
                    .push(Diagnostic::error(Code::Syntax, message).at(key.span));
                None
            }
        }
    }

    fn duplicate(&mut self, key: &str, span: Span, first: Span) {
        let message = format!("`{}` is set twice in the same map", syntax::short(key));
        self.problems.push(
            Diagnostic::error(Code::DuplicateKey, message)
                .at(span)
                .related(first, "first set here")
                .help("keep one of them"),
        );
    }

    /// `<<: *anchor` or `<<: [*first, *second]`: what the map has itself wins, then the first.
    fn merge(&mut self, map: &mut Map, key_span: Span, node: Node) {
        let sources = match node.value {
            Value::List(items) => items,
            Value::Null | Value::Text(_) | Value::Map(_) => vec![node],
        };
        let mut present: BTreeSet<String> =
            map.entries.iter().map(|entry| entry.key.clone()).collect();
        for source in sources {
            let kind = source.kind();
            let Value::Map(from) = source.value else {
                let message = format!("`<<` merges maps, found {kind}");
                let problem = Diagnostic::error(Code::WrongType, message).at(key_span);
                self.problems
                    .push(problem.help("name an anchor of a map, such as `<<: *common`"));
                continue;
            };
            for entry in from.entries {
                if present.insert(entry.key.clone()) {
                    map.entries.push(entry);
                }
            }
        }
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Value {
        let as_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix() == "str");
        if !as_text {
            self.refuse_tag(tag, span);
        }
        let plain = style == ScalarStyle::Plain && !as_text;
        if plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
            return Value::Null;
        }
        Value::Text(Scalar {
            text,
            style: if plain { Style::Plain } else { Style::Quoted },
            inserted: None,
        })
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, span: Span) {
        let Some(tag) = tag else { return };
        let message = format!(
            "the tag `{}` is not supported",
            syntax::short(&tag.to_string())
        );
        let help = match tag.suffix() {
            "include" => "write the key `$include: file` instead",
            "reset" | "override" => "remove it: lists replace each other, and `null` empties a map",
            _ => "remove it",
        };
        self.problems
            .push(Diagnostic::error(Code::Syntax, message).at(span).help(help));
    }

    fn explain(&self, stop: Stop) -> Diagnostic {
        let end = self.source.text.trim_end().len();
        let whole = Span {
            file: self.file,
            start: end,
            end,
        };
        match stop {
            Stop::Scan(error) => syntax::explain(&error, self.file, self.source),
            Stop::TooMany => {
                let message =
                    format!("the fleet has more than {MAX_NODES} values, anchors followed");
                Diagnostic::error(Code::TooComplex, message)
                    .at(Span {
                        start: 0,
                        end: 0,
                        ..whole
                    })
                    .help("look for anchors that repeat each other; split the fleet if it is real")
            }
            Stop::TooDeep(span) => {
                let message = format!("the file is nested more than {MAX_DEPTH} levels deep here");
                Diagnostic::error(Code::TooComplex, message).at(span)
            }
            Stop::Empty => Diagnostic::error(Code::Syntax, "the file is empty")
                .at(Span {
                    start: 0,
                    end: 0,
                    ..whole
                })
                .help("a fleet begins with `project: NAME` and `version: \"1.0\"`"),
            Stop::SecondDocument(span) => {
                Diagnostic::error(Code::Syntax, "a second YAML document begins here")
                    .at(span)
                    .help("a fleet is one document: remove the `---`")
            }
            Stop::SelfReference(span) => {
                Diagnostic::error(Code::Syntax, "this alias stands inside the block it names")
                    .at(span)
            }
            Stop::EndedEarly => {
                Diagnostic::error(Code::Syntax, "the file ends in the middle").at(whole)
            }
        }
    }
}
