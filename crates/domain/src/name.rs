//! Names that people give: of models, adapters and tenants.
//!
//! **Invariant:** a name that has been parsed is safe as a file name, a URL segment and a label of a metric.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest name, in bytes.
pub const NAME_LEN_MAX: usize = 96;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{got}` is not a {what} name: use 1 to 96 letters, digits, `.`, `_` and `-`, starting with a letter or digit")]
pub struct NameError {
    what: &'static str,
    got: String,
}

fn is_name(text: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&text.len())
        && text.as_bytes()[0].is_ascii_alphanumeric()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if is_name(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { what: $what, got: text.chars().take(NAME_LEN_MAX).collect() })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// The name of a model or of an adapter, as a request gives it.
    ModelName, "model"
);
name!(
    /// The name of a tenant.
    TenantName, "tenant"
);

/// What a request's `model` field names: a model, or an adapter of it as `model:adapter`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelRef {
    /// The model.
    pub model: ModelName,
    /// The LoRA adapter, if one is asked for.
    pub adapter: Option<ModelName>,
}

impl FromStr for ModelRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (model, adapter) = match text.split_once(':') {
            Some((model, adapter)) => (model, Some(adapter.parse()?)),
            None => (text, None),
        };
        Ok(Self { model: model.parse()?, adapter })
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.adapter {
            Some(adapter) => write!(f, "{}:{adapter}", self.model),
            None => write!(f, "{}", self.model),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "Llama-3.1-8B-Instruct", "smollm2_135m", "7b"] {
            assert!(good.parse::<ModelName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-x", "a/b", "a b", "a\n", "ä", &"x".repeat(97)] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reference_names_a_model_and_perhaps_an_adapter() {
        let plain: ModelRef = "m".parse().expect("a name");
        assert_eq!((plain.model.as_str(), plain.adapter), ("m", None));
        let adapted: ModelRef = "m:poet".parse().expect("a name");
        assert_eq!(adapted.to_string(), "m:poet");
        assert!("m:".parse::<ModelRef>().is_err());
        assert!("m:a:b".parse::<ModelRef>().is_err());
    }
}
