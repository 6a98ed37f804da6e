//! What people and keys are to a tenant, in words.
//!
//! **Invariant:** the words say nothing of what they allow: that is decided in one place, in `control`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The text is none of the words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, not `{got}`")]
pub struct WordError {
    expected: &'static str,
    got: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $($(#[$word_doc:meta])* $word:ident = $text:literal,)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$word_doc])* $word,)* }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [$name] = &[$($name::$word,)*];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$word => $text,)* }
            }
        }

        impl FromStr for $name {
            type Err = WordError;

            fn from_str(text: &str) -> Result<Self, WordError> {
                match text {
                    $($text => Ok($name::$word),)*
                    _ => Err(WordError { expected: $expected, got: text.chars().take(40).collect() }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(
    /// What a user is in a tenant.
    Role, "owner, developer, billing or viewer",
    /// May do everything in the tenant.
    Owner = "owner",
    /// Uses models, manages keys, sees usage.
    Developer = "developer",
    /// Sees usage and invoices, manages credit and limits.
    Billing = "billing",
    /// Sees, changes nothing.
    Viewer = "viewer",
);

words!(
    /// What a tenant's key is good for.
    Scope, "inference, read or manage",
    /// Lets models compute.
    Inference = "inference",
    /// Sees what the tenant has.
    Read = "read",
    /// Manages keys, and sees what the tenant has.
    Manage = "manage",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_parse_to_themselves() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse::<Role>(), Ok(*role));
        }
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse::<Scope>(), Ok(*scope));
        }
        assert!("Owner".parse::<Role>().is_err() && "".parse::<Scope>().is_err());
    }
}
