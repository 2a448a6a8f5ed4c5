//! A place in a body that is read for translation.

use serde::Deserialize;

use crate::llm::wire::{Excerpt, RawObject, elements, text};

/// Why something cannot be translated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untranslatable {
    /// It needs what the other interface does not have: the answer is 501.
    #[error(
        "`{feature}` cannot be translated for this model; leave it out, or name a model whose provider has it"
    )]
    Unsupported {
        /// The field, with its value where that is what matters.
        feature: Excerpt,
    },
    /// It has not the form of its interface.
    #[error("`{field}` is not {expected}")]
    Malformed {
        /// The field.
        field: Excerpt,
        /// What it should be.
        expected: &'static str,
    },
}

/// A value with its place in the body.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    place: String,
    raw: &'a str,
}

impl<'a> Node<'a> {
    pub(super) const fn root(raw: &'a str) -> Self {
        Self {
            place: String::new(),
            raw,
        }
    }

    pub(super) const fn raw(&self) -> &'a str {
        self.raw
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Its members that are not `null`.
    pub(super) fn members(&self) -> Result<Vec<(String, Self)>, Untranslatable> {
        let object = RawObject::read(self.raw).map_err(|_error| self.malformed("an object"))?;
        let members = object.iter().map(|(key, raw)| {
            let place = if self.place.is_empty() {
                key.to_owned()
            } else {
                format!("{}.{key}", self.place)
            };
            (key.to_owned(), Self { place, raw })
        });
        Ok(members.collect())
    }

    pub(super) fn elements(&self) -> Result<Vec<Self>, Untranslatable> {
        let elements = elements(self.raw).ok_or_else(|| self.malformed("an array"))?;
        let elements = elements.into_iter().enumerate().map(|(index, raw)| Self {
            place: format!("{}[{index}]", self.place),
            raw,
        });
        Ok(elements.collect())
    }

    pub(super) const fn is_text(&self) -> bool {
        matches!(self.raw.as_bytes(), [b'"', ..])
    }

    pub(super) fn text(&self) -> Result<String, Untranslatable> {
        let text = text(self.raw).ok_or_else(|| self.malformed("a string"))?;
        Ok(text.into_owned())
    }

    pub(super) fn flag(&self) -> Result<bool, Untranslatable> {
        self.read("true or false")
    }

    pub(super) fn number(&self) -> Result<u64, Untranslatable> {
        self.read("a whole number")
    }

    /// A number between 0 and `most`, as it is written.
    pub(super) fn fraction(&self, most: f64) -> Result<String, Untranslatable> {
        let number: f64 = self.read("a number")?;
        if (0.0..=most).contains(&number) {
            return Ok(self.raw.to_owned());
        }
        Err(self.unsupported_value())
    }

    /// The value of a member that has to be there.
    pub(super) fn need(
        &self,
        found: Option<Self>,
        field: &str,
        expected: &'static str,
    ) -> Result<Self, Untranslatable> {
        found.ok_or_else(|| Untranslatable::Malformed {
            field: format!("{}.{field}", self.place).trim_matches('.').into(),
            expected,
        })
    }

    pub(super) fn malformed(&self, expected: &'static str) -> Untranslatable {
        Untranslatable::Malformed {
            field: self.place.as_str().into(),
            expected,
        }
    }

    pub(super) fn unsupported(&self) -> Untranslatable {
        Untranslatable::Unsupported {
            feature: self.place.as_str().into(),
        }
    }

    /// Refuses the value it has, which is short by its kind.
    pub(super) fn unsupported_value(&self) -> Untranslatable {
        let shown: String = self.raw.chars().take(64).collect();
        Untranslatable::Unsupported {
            feature: format!("{} = {shown}", self.place).into(),
        }
    }

    fn read<T: Deserialize<'a>>(&self, expected: &'static str) -> Result<T, Untranslatable> {
        serde_json::from_str(self.raw).map_err(|_error| self.malformed(expected))
    }
}

/// A member by its key.
pub(super) fn member<'a>(members: &[(String, Node<'a>)], key: &str) -> Option<Node<'a>> {
    members
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, node)| node.clone())
}
