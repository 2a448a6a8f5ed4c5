//! Problems as text for people: the line, underlined, and what to do.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::diagnostic::{Diagnostic, Diagnostics, Severity};
use super::source::{Exposure, Source};
use super::tree::Span;

/// A longer line is not shown: the message names its place only.
const MAX_LINE_BYTES: usize = 400;

/// How problems are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As plain text.
    Plain,
    /// With terminal colours.
    Colored,
}

impl Diagnostics {
    /// The problems as text for people, ending with a line that counts them.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Colored => Renderer::styled(),
        }
        .decor_style(DecorStyle::Ascii);
        let mut text = String::new();
        for problem in self.iter() {
            text.push_str(&renderer.render(&[self.group(problem)]));
            if let (None, Some(help)) = (problem.span, &problem.help) {
                text.push_str("\n  = help: ");
                text.push_str(&visible(help));
            }
            text.push_str("\n\n");
        }
        text.push_str(&self.summary());
        text.push('\n');
        text
    }

    fn group<'a>(&'a self, problem: &'a Diagnostic) -> Group<'a> {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let message = visible(&problem.message);
        let mut group = Group::with_title(level.primary_title(message).id(problem.code.as_str()));
        let Some(span) = problem.span else {
            return group;
        };
        group = self.with_place(group, span, problem);
        match &problem.help {
            Some(help) => group.element(Level::HELP.message(visible(help))),
            None => group,
        }
    }

    fn with_place<'a>(
        &'a self,
        group: Group<'a>,
        span: Span,
        problem: &'a Diagnostic,
    ) -> Group<'a> {
        let source = self.sources.get(span.file);
        let Some(window) = Window::around(source, span) else {
            let (line, column) = source.position(span.start);
            let origin = Origin::path(source.name.as_str());
            return group.element(origin.line(line).char_column(column));
        };
        let mut snippet = window
            .snippet(source)
            .annotation(AnnotationKind::Primary.span(window.relative(span)));
        let Some((other, label)) = problem.related else {
            return group.element(snippet);
        };
        if window.contains(other) {
            let context = AnnotationKind::Context.span(window.relative(other));
            snippet = snippet.annotation(context.label(label));
            return group.element(snippet);
        }
        let other_source = self.sources.get(other.file);
        let group = group.element(snippet);
        match Window::around(other_source, other) {
            Some(window) => {
                let context = AnnotationKind::Context.span(window.relative(other));
                group.element(
                    window
                        .snippet(other_source)
                        .annotation(context.label(label)),
                )
            }
            None => group,
        }
    }

    fn summary(&self) -> String {
        let count = |severity| self.iter().filter(|p| p.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let mut parts = Vec::new();
        if errors > 0 {
            parts.push(counted(errors, "error"));
        }
        if warnings > 0 {
            parts.push(counted(warnings, "warning"));
        }
        if self.not_listed() > 0 {
            parts.push(format!("{} more not listed", self.not_listed()));
        }
        parts.join(", ")
    }
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Control characters would move the cursor of a terminal; they are shown as symbols.
fn visible(text: &str) -> String {
    annotate_snippets::normalize_untrusted_str(text)
}

/// The few bytes of a file around a span; only they are given to the renderer, as it reads all
/// it is given for each problem.
struct Window {
    start: usize,
    end: usize,
    first_line: usize,
}

impl Window {
    fn around(source: &Source, span: Span) -> Option<Self> {
        if source.exposure == Exposure::Secret {
            return None;
        }
        let first_line = source.line_of(source.floor(span.start));
        let range = source.line_range(first_line);
        (range.len() <= MAX_LINE_BYTES).then_some(Self {
            start: range.start,
            end: range.end,
            first_line,
        })
    }

    fn contains(&self, span: Span) -> bool {
        self.start <= span.start && span.start <= self.end
    }

    /// The part of a span within the window, moved to its start; never empty unless the line is.
    fn relative(&self, span: Span) -> std::ops::Range<usize> {
        let start = span.start.clamp(self.start, self.end);
        let end = span.end.clamp(start, self.end);
        start - self.start..end - self.start
    }

    fn snippet<'a>(&self, source: &'a Source) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        Snippet::source(source.shown(self.start..self.end))
            .path(source.name.as_str())
            .line_start(self.first_line + 1)
            .fold(false)
    }
}
