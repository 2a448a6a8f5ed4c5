//! `.dockerignore`: what of a folder is not sent to the engine.

use std::io;
use std::path::Path;

use globset::{Glob, GlobBuilder, GlobMatcher};

/// The file with the rules.
pub(super) const RULES: &str = ".dockerignore";

/// The rules of a folder; the last one that fits a path decides.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    matcher: GlobMatcher,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Excluded,
    Included,
}

impl Ignore {
    /// Reads the rules of a folder; one without a file has none. Blocks.
    pub(super) fn read(context: &Path) -> io::Result<Self> {
        // Says that the folder is missing, and not that its file is.
        context.read_dir()?;
        match std::fs::read_to_string(context.join(RULES)) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    fn parse(text: &str) -> Self {
        let rules = text.lines().map(str::trim);
        let rules = rules.filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self {
            rules: rules.filter_map(rule).collect(),
        }
    }

    /// Whether a path, from the folder on, is left out: by itself or with a folder above it.
    pub(super) fn excludes(&self, path: &Path) -> bool {
        let fits = |rule: &&Rule| {
            let mut above = path.ancestors().filter(|part| !part.as_os_str().is_empty());
            above.any(|part| rule.matcher.is_match(part))
        };
        let last = self.rules.iter().rev().find(fits);
        last.is_some_and(|rule| rule.verdict == Verdict::Excluded)
    }

    /// Whether something in a folder that is left out may be needed all the same.
    pub(super) fn has_exceptions(&self) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.verdict == Verdict::Included)
    }
}

/// A rule that cannot be understood is as good as none: too much is sent, and nothing is missing.
fn rule(line: &str) -> Option<Rule> {
    let (verdict, pattern) = match line.strip_prefix('!') {
        Some(rest) => (Verdict::Included, rest.trim()),
        None => (Verdict::Excluded, line),
    };
    let pattern = pattern.trim_start_matches("./").trim_matches('/');
    let glob: Glob = GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .inspect_err(|error| tracing::warn!(%error, "a rule of .dockerignore is left out"))
        .ok()?;
    Some(Rule {
        matcher: glob.compile_matcher(),
        verdict,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_that_fits_decides_and_folders_take_their_files_along() {
        let rules = Ignore::parse("# notes\n*.md\n!README.md\n/target/\n**/*.pyc\n");
        for (path, excluded) in [
            ("notes.md", true),
            ("README.md", false),
            ("docs/notes.md", false),
            ("target/debug/x", true),
            ("a/b/c.pyc", true),
            ("a/b/c.py", false),
        ] {
            assert_eq!(rules.excludes(Path::new(path)), excluded, "{path}");
        }
        assert!(rules.has_exceptions());
    }
}
