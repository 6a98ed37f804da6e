//! The closed vocabularies of a judgement: classes, facets, effort.
//!
//! Also compiled into the build script, so it must know nothing of the rest of the crate.
//!
//! **Invariant:** a word parses to the variant that prints it, and nothing else parses.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a resource is to whoever wants to leave its provider. Ordered by the work to leave; unknown stands next to
/// neutral, because it is reported on its own and never counted as worse than something known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    /// Neutral: not tied to a cloud provider.
    N,
    /// Unknown: not in the catalogue; reported, never guessed.
    U,
    /// Standard: an open standard or an unmodified open-source engine, from two vendors and self-hosted.
    S,
    /// Commodity: the workload never calls it, and the same primitive is everywhere.
    M,
    /// Glue: exists only to govern that provider.
    G,
    /// Compatible: proprietary, but an independent implementation or open wire protocol covers common use.
    C,
    /// Exportable: proprietary API, whose state leaves in a documented format.
    X,
    /// Entangled: state that cannot be exported, or behaviour without equivalent.
    E,
}

impl Class {
    /// Every class, least work first.
    pub const ALL: [Class; 8] = [Class::N, Class::U, Class::S, Class::M, Class::G, Class::C, Class::X, Class::E];

    /// The letter.
    pub const fn letter(self) -> &'static str {
        match self {
            Class::N => "N",
            Class::U => "U",
            Class::S => "S",
            Class::M => "M",
            Class::G => "G",
            Class::C => "C",
            Class::X => "X",
            Class::E => "E",
        }
    }

    /// The word for a table or a heading.
    pub const fn word(self) -> &'static str {
        match self {
            Class::N => "neutral",
            Class::U => "unknown",
            Class::S => "standard",
            Class::M => "commodity",
            Class::G => "glue",
            Class::C => "compatible",
            Class::X => "exportable",
            Class::E => "entangled",
        }
    }

    /// What it means, in one sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Class::N => "not tied to a cloud provider",
            Class::U => "not in the catalogue: reported, never guessed",
            Class::S => "open standard or unmodified open-source engine, from two vendors and self-hosted",
            Class::M => "the workload never calls it, and the same primitive is everywhere",
            Class::G => "exists only to govern that provider",
            Class::C => "proprietary, but an independent implementation or open wire protocol covers common use",
            Class::X => "proprietary API, whose state leaves in a documented format",
            Class::E => "state that cannot be exported, or behaviour without equivalent",
        }
    }

    /// The work to leave, in a few words.
    pub const fn work(self) -> &'static str {
        match self {
            Class::N => "none",
            Class::U => "look",
            Class::S => "endpoint, credentials, data copy",
            Class::M => "rewrite the infrastructure code",
            Class::G => "rebuild on the target",
            Class::C => "compatibility test, small edits",
            Class::X => "rewrite the adapter",
            Class::E => "redesign",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.letter())
    }
}

impl std::str::FromStr for Class {
    type Err = String;

    /// Reads a letter or a word, in either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Class::ALL
            .into_iter()
            .find(|class| text.eq_ignore_ascii_case(class.letter()) || text.eq_ignore_ascii_case(class.word()))
            .ok_or_else(|| format!("`{text}` is not a class; use one of S, M, G, C, X, E, N"))
    }
}

/// A facet's closed set of values, for the reader of the files.
pub trait Word: Copy + Sized + 'static {
    /// The values with their words, best for the owner first.
    const WORDS: &'static [(&'static str, Self)];
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// The word in the files and in the JSON.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }

        impl Word for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $name::$variant),)*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// Can something else answer the calls that the workload makes? (Interoperability, ISO/IEC 19941.)
    Interoperability {
        /// The workload never calls it.
        NotCalled = "not-called",
        /// An open standard, or the protocol of an open-source engine.
        Standard = "standard",
        /// The provider's own interface, with independent implementations or an open protocol beside it.
        Compatible = "compatible",
        /// Only this provider answers it.
        Proprietary = "proprietary",
    }
}

words! {
    /// Can the state leave? (Data portability, ISO/IEC 19941.)
    DataPortability {
        /// It holds no state of the customer's beyond its own configuration.
        Stateless = "stateless",
        /// In the native format of an open engine or standard, by that engine's own tools.
        Native = "native",
        /// In a documented format, by the provider's export or read API.
        Documented = "documented",
        /// Some of it cannot leave.
        Partial = "partial",
        /// It cannot leave.
        Locked = "locked",
    }
}

words! {
    /// What has to change in the application? (Application portability, ISO/IEC 19941.)
    ApplicationPortability {
        /// Nothing.
        Unchanged = "unchanged",
        /// The declaration is written again for the target; the code stays.
        Declaration = "declaration",
        /// Endpoints and credentials.
        Configuration = "configuration",
        /// The code that speaks to this service.
        Adapter = "adapter",
        /// The design that relies on it.
        Redesign = "redesign",
    }
}

words! {
    /// How an attribute's value is tested, without regard to case.
    Test {
        /// The value is one of the rule's.
        Is = "is",
        /// The value starts with one of them.
        StartsWith = "starts_with",
        /// The value contains one of them.
        Contains = "contains",
    }
}

impl Class {
    /// The facets of a rule that names a class and no facets.
    pub const fn usual_facets(self) -> Facets {
        use {ApplicationPortability as A, DataPortability as D, Interoperability as I};
        let (interoperability, data_portability, application_portability) = match self {
            Class::N => (I::NotCalled, D::Stateless, A::Unchanged),
            Class::M | Class::G => (I::NotCalled, D::Stateless, A::Declaration),
            Class::S => (I::Standard, D::Native, A::Configuration),
            Class::C => (I::Compatible, D::Documented, A::Configuration),
            Class::X => (I::Proprietary, D::Documented, A::Adapter),
            Class::E => (I::Proprietary, D::Partial, A::Redesign),
            Class::U => (I::Proprietary, D::Locked, A::Redesign),
        };
        Facets { interoperability, data_portability, application_portability }
    }

    /// The effort of a rule that names a class and no effort.
    pub const fn usual_effort(self) -> Effort {
        let (low, high) = match self {
            Class::N | Class::U => (0.0, 0.0),
            Class::G => (0.1, 1.0),
            Class::M => (0.25, 2.0),
            Class::S => (0.5, 3.0),
            Class::C => (1.0, 5.0),
            Class::X => (3.0, 15.0),
            Class::E => (10.0, 40.0),
        };
        Effort { low, high }
    }
}

/// One value for each facet of portability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Facets {
    /// Who else can answer its calls.
    pub interoperability: Interoperability,
    /// Whether its state can leave.
    pub data_portability: DataPortability,
    /// What changes in the application.
    pub application_portability: ApplicationPortability,
}

/// Working days of one engineer who knows both sides, from favourable to unfavourable. Data transfer time, which
/// depends on the volume, is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Effort {
    /// Days when all goes well.
    pub low: f32,
    /// Days when it does not.
    pub high: f32,
}
